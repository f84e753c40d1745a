import numpy as np
import pytest

from experiments import tabletop
from mtml_tf.data.records import DataFolder
from mtml_tf.scans.scan import write_scan
from mtml_tf.scene import Scene


def two_boxes(name):
    """A table of 20 cm with two objects on it, one point a cell of 4 mm."""
    table = np.argwhere(np.ones((50, 50, 1))) * 0.004
    box = np.argwhere(np.ones((12, 12, 15))) * 0.004 + np.array([0.0, 0.0, -0.01])
    return Scene(
        name=name,
        vertices=np.concatenate([table, box + 0.02, box + np.array([0.12, 0.12, 0.02])]),
        semantic_ids=np.repeat([1, 2], [len(table), 2 * len(box)]).astype(np.int32),
        instance_ids=np.repeat([0, 1, 2], [len(table), len(box), len(box)]).astype(np.int32),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tabletop")
    for name in [*tabletop.VALIDATION, "learn0", "learn1"]:
        write_scan(folder / "scans" / f"{name}.ply", two_boxes(name))
    for name in ("composed_train", "composed_val"):
        write_scan(folder / "composed" / name / "composed_0000.ply", two_boxes("composed_0000"))
    tabletop.prepare(folder / "scans", folder / "composed", folder / "data")
    return DataFolder(folder / "data")


def test_validation_scans_are_never_trained_on(data):
    trained = {entry.name for entry in data.entries("train")}
    copies = range(tabletop.TURNED_COPIES)
    expected = {f"learn{scan}_turned{copy}" for scan in (0, 1) for copy in copies}
    assert trained == {"composed_0000"} | expected
    assert [entry.name for entry in data.entries("val")] == tabletop.VALIDATION


def test_copies_of_a_scan_are_turned_differently(data):
    copies = [e for e in data.entries("train") if e.name.startswith("learn0")]
    assert len({data.scene(entry).coordinates.tobytes() for entry in copies}) == len(copies)


def test_every_scene_has_its_objects_and_ground_truth(data):
    for split in data.splits:
        for scene in data.scenes(split):
            assert set(np.unique(scene.instance_ids)) == {0, 1, 2}
            assert (data.ground_truth_dir(split) / f"{scene.name}.txt").is_file()
