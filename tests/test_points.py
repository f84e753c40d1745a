"""The vertices of a scan get the geometry of their surroundings, and a folder keeps them."""

import dataclasses
import os
import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scenes import files_in

from mtml_tf.classes import ClassSet
from mtml_tf.engines import Engine
from mtml_tf.scans import prepared
from mtml_tf.scans.turning import turned
from mtml_tf.scene import Scene
from mtml_tf.semantic.point_folder import PointFolder, write_point_folder
from mtml_tf.semantic.points import NEIGHBOURS, PointScene, point_scene

CLASSES = ClassSet((1, 2, 200), ("floor", "box", "ball"), ("stuff", "thing", "thing"))
HERE = Engine(num_workers=1)


def plane(normal, count=60):
    """Vertices in a plane through the origin, metres."""
    one, two = np.linalg.svd(np.array([normal], np.float64))[2][1:]
    steps = np.random.default_rng(0).random((count, 2))
    return steps @ np.stack([one, two])


def geometry(vertices):
    points = point_scene(Scene("a", np.asarray(vertices, np.float64)))
    return points.upright, points.roughness


@pytest.mark.parametrize(
    ("normal", "upright"),
    [((0, 0, 1), 255), ((1, 0, 0), 0), ((1, 2, 0), 0), ((1, 0, 1), 180), ((0, 3, -4), 204)],
)
def test_a_plane_is_as_upright_as_its_normal_and_not_rough(normal, upright):
    found, roughness = geometry(plane(normal))
    assert set(found.tolist()) == {upright}
    assert set(roughness.tolist()) == {0}


def test_where_all_directions_are_alike_it_is_as_rough_as_can_be():
    corners = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3)
    assert set(geometry(corners)[1].tolist()) == {255}


def test_roughness_is_three_times_the_share_of_variance_along_the_normal():
    # A pair of vertices along each axis: variances in the ratio 16 to 4 to 1.
    vertices = np.kron(np.diag([4.0, 2.0, 1.0]), [[1], [-1]]) + np.array([0, 0, 7])
    upright, roughness = geometry(vertices)
    assert set(upright.tolist()) == {255}
    assert set(roughness.tolist()) == {round(3 * 1 / 21 * 255)}


@pytest.mark.parametrize(
    "vertices",
    [
        np.zeros((1, 3)),
        np.full((40, 3), 2.5),
        np.array([[0.0, 0, 0], [0, 0, 1]]),
        np.arange(30)[:, None] * [[0.1, 0.2, 0.3]],
    ],
    ids=["one vertex", "one place", "two vertices", "a line"],
)
def test_what_spans_no_plane_is_neither_upright_nor_rough(vertices):
    upright, roughness = geometry(vertices)
    assert upright.tolist() == roughness.tolist() == [0] * len(vertices)


def by_definition(vertices):
    """Upright and roughness of each vertex, one after the other."""
    for vertex in vertices:
        nearest = np.argsort(np.linalg.norm(vertices - vertex, axis=1))[:NEIGHBOURS]
        variances, axes = np.linalg.eigh(np.cov(vertices[nearest].T))
        yield abs(axes[2, 0]) * 255, 3 * variances[0] / variances.sum() * 255


@pytest.mark.parametrize("count", [5, NEIGHBOURS, 300])
def test_geometry_is_that_of_the_nearest_vertices(count):
    vertices = np.random.default_rng(count).normal(size=(count, 3)) * [1, 1, 0.2]
    expected = np.array(list(by_definition(vertices)))
    np.testing.assert_allclose(np.stack(geometry(vertices), axis=1), expected, atol=0.5001)


def test_geometry_does_not_depend_on_order_place_and_turn_about_the_vertical_axis(monkeypatch):
    vertices = np.random.default_rng(1).normal(size=(500, 3))
    expected = np.stack(geometry(vertices), axis=1).astype(int)
    order = np.random.default_rng(2).permutation(500)
    np.testing.assert_array_equal(np.stack(geometry(vertices[order]), axis=1), expected[order])
    moved = turned(Scene("a", vertices + np.array([5, -3, 2])), 1.0).vertices
    found = np.stack(geometry(moved), axis=1).astype(int)
    assert np.abs(found - expected).max() <= 1  # of rounding
    monkeypatch.setattr("mtml_tf.semantic.points._CHUNK", 7)
    np.testing.assert_array_equal(np.stack(geometry(vertices), axis=1), expected)


def test_a_scene_keeps_order_colours_and_labels():
    rng = np.random.default_rng(0)
    vertices, colors = rng.random((50, 3)), rng.integers(0, 256, (50, 3))
    ids = np.repeat([0, 200], 25).astype(np.int32)
    points = point_scene(Scene("a", vertices, colors, semantic_ids=ids))
    assert (points.name, points.vertices.dtype, points.colors.dtype) == ("a", "f4", "u1")
    np.testing.assert_array_equal(points.vertices, vertices.astype(np.float32))
    np.testing.assert_array_equal(points.colors, colors)
    np.testing.assert_array_equal(points.semantic_ids, ids)
    bare = point_scene(Scene("a", vertices))
    assert bare.colors is bare.semantic_ids is None


def test_whole_metres_come_off_vertices_that_are_far_away():
    vertices = plane((0, 0, 1)) + np.array([0.5, 0.5, 0])
    far = Scene("a", vertices + np.array([500_000, 5_400_000, 300]))
    points = point_scene(far)
    shift = far.vertices - points.vertices.astype(np.float64)
    np.testing.assert_allclose(shift, np.broadcast_to(np.round(shift[0]), shift.shape), atol=1e-6)
    assert set(points.upright.tolist()) == {255}
    with pytest.raises(
        ValueError, match=r"scene a: expected coordinates that tell voxels of 0\.02"
    ):
        point_scene(dataclasses.replace(far, coordinate_step=0.5))


def test_a_scene_without_vertices_or_with_large_ids_is_refused():
    with pytest.raises(ValueError, match="scene a: expected vertices, found none"):
        point_scene(Scene("a", np.zeros((0, 3))))
    for wrong in (256, -1):
        ids = np.array([0, wrong], np.int32)
        with pytest.raises(ValueError, match=f"class ids from 0 to 255, found {wrong}"):
            point_scene(Scene("a", np.zeros((2, 3)), semantic_ids=ids))


FIELDS = {
    "vertices": np.zeros((4, 3), np.float32),
    "colors": None,
    "upright": np.zeros(4, np.uint8),
    "roughness": np.zeros(4, np.uint8),
}


@pytest.mark.parametrize(
    ("field", "wrong", "found"),
    [
        ("vertices", np.zeros((4, 3)), r"vertices as float32 \[4, 3\], found float64 \[4, 3\]"),
        ("vertices", np.float32(1), r"vertices as float32 \[1, 3\], found a float32"),
        ("vertices", np.full((4, 3), np.nan, "f4"), "finite vertices, found NaN or infinity"),
        ("colors", np.zeros((4, 4), "u1"), r"colors as uint8 \[4, 3\], found uint8 \[4, 4\]"),
        ("upright", None, r"upright as uint8 \[4\], found a NoneType"),
        ("roughness", np.zeros(5, "u1"), r"roughness as uint8 \[4\], found uint8 \[5\]"),
        ("semantic_ids", np.zeros(4, "i4"), r"semantic_ids as uint8 \[4\], found int32 \[4\]"),
    ],
)
def test_arrays_that_are_no_scene_are_refused(field, wrong, found):
    with pytest.raises(ValueError, match=f"scene a: expected {found}"):
        PointScene("a", **{**FIELDS, field: wrong})


@dataclasses.dataclass(frozen=True)
class Scans:
    """Stands for a `PointPreparation`: each scan is a file with the number of its vertices."""

    classes: ClassSet = CLASSES
    setting: int = 1

    @property
    def settings(self):
        return {"setting": self.setting}

    def check(self, sources):
        pass

    def inputs(self, source):
        return [source.path]

    def __call__(self, source):
        count = int(source.path.read_text())
        rng = np.random.default_rng(self.setting)
        ids = rng.choice([0, 1, 200], count).astype(np.int32)
        return Scene(source.name, rng.random((count, 3)), semantic_ids=ids), []


class Place:
    """Scans `a`, `b`, `c` of 30 vertices in a folder, and a points folder beside it."""

    def __init__(self, path):
        self.scans, self.points = path / "scans", path / "points"
        self.scans.mkdir()
        for name in "abc":
            self.change(name, "30")

    def change(self, name, text):
        (self.scans / name).write_text(text)

    def write(self, names="abc", split="train", preparation=Scans(), **options):
        sources = [prepared.Source(split, name, self.scans / name) for name in names]
        return write_point_folder(self.points, sources, preparation, HERE, **options)

    def times(self):
        return {path.stem: path.stat().st_mtime_ns for path in self.points.glob("train/*.npz")}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_what_is_written_is_read_back(place):
    assert place.write("ba") == f"{place.points}: wrote 2 scenes"
    place.write("c", "val")
    folder = PointFolder(place.points)
    assert (folder.path, folder.classes, folder.splits) == (place.points, CLASSES, ("train", "val"))
    assert (folder.names("train"), folder.names("val")) == (["b", "a"], ["c"])
    expected = point_scene(Scans()(prepared.Source("train", "a", place.scans / "a"))[0])
    found = folder.read("train", "a")
    assert found.name == "a"
    assert found.colors is None
    for field in ("vertices", "upright", "roughness", "semantic_ids"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
        assert getattr(found, field).dtype == getattr(expected, field).dtype
    assert files_in(place.points) == [
        *("classes.csv", "train.txt", "train/a.npz", "train/b.npz", "val.txt", "val/c.npz")
    ]


def test_only_scenes_that_are_missing_are_made(place):
    place.write("ab")
    before = place.times()
    assert place.write() == f"{place.points}: wrote 1 scenes; 2 were there already"
    assert {name: place.times()[name] for name in "ab"} == before
    assert PointFolder(place.points).names("train") == ["a", "b", "c"]


def test_a_scene_that_fails_does_not_stop_the_others_and_is_made_once_it_is_mended(place, caplog):
    place.change("b", "many")
    with pytest.raises(ValueError, match=r"points: mend .* expected 3 scenes .*, found 1 that"):
        place.write()
    assert "b failed (train): invalid literal" in caplog.text
    assert PointFolder(place.points).names("train") == ["a", "c"]
    place.change("b", "30")
    before = place.times()
    assert place.write().endswith("wrote 1 scenes; 2 were there already")
    assert {name: place.times()[name] for name in "ac"} == before
    assert PointFolder(place.points).names("train") == ["a", "b", "c"]


def test_a_scene_without_vertices_is_told_by_its_file(place, caplog):
    place.change("b", "0")
    with pytest.raises(ValueError, match="found 1 that could not be"):
        place.write()
    assert f"{place.scans}/b: scene b: expected vertices, found none" in caplog.text


def test_what_was_made_of_something_else_is_replaced_only_when_told(place):
    place.write()
    before = place.times()
    place.change("b", "31")
    told = r"train/b\.npz: expected a scene made of .* \(1 of 3 scenes\); .* or give --overwrite"
    with pytest.raises(ValueError, match=told):
        place.write()
    assert place.times() == before
    assert place.write(overwrite=True).endswith("wrote 1 scenes; 2 were there already")
    folder = PointFolder(place.points)
    assert [len(folder.read("train", name).vertices) for name in "abc"] == [30, 31, 30]
    with pytest.raises(ValueError, match=r"train/a\.npz: expected .* \(3 of 3 scenes\)"):
        place.write(preparation=Scans(setting=2))
    assert place.write(preparation=Scans(setting=2), overwrite=True).endswith("wrote 3 scenes")


def test_a_split_that_is_being_replaced_has_no_list(place):
    place.write()
    for name in "abc":
        place.change(name, "none")
    with pytest.raises(ValueError, match=r"start again with --overwrite.* found 3 that could not"):
        place.write(overwrite=True)
    with pytest.raises(ValueError, match="split 'train', found one that is not whole"):
        PointFolder(place.points).names("train")


def test_a_split_of_other_scenes_is_replaced_only_when_told(place):
    place.write()
    with pytest.raises(ValueError, match=r"train\.txt: split 'train' exists already.*such as a;"):
        place.write("bc")
    place.write("bc", overwrite=True)
    assert PointFolder(place.points).names("train") == ["b", "c"]


def test_other_classes_and_other_folders_are_refused(place):
    with pytest.raises(ValueError, match=r"class ids up to 255 in a points folder, found 300"):
        place.write(preparation=Scans(ClassSet((300,), ("x",), ("thing",))))
    assert not place.points.exists()
    place.write()
    with pytest.raises(ValueError, match=r"classes\.csv: expected the classes of the new scenes"):
        place.write("a", "val", Scans(ClassSet((1,), ("floor",), ("stuff",))))
    (place.points / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match=r"points folder, found manifest\.json in it"):
        place.write("a", "val")
    place.points = place.scans
    with pytest.raises(ValueError, match=r"scans: expected a points folder, found no classes\.csv"):
        place.write("a", "val")
    place.points = place.scans / "a"
    with pytest.raises(ValueError, match="expected a folder to write, found a file"):
        place.write("a", "val")


def test_a_name_that_leads_elsewhere_is_refused(place):
    source = prepared.Source("train", "../a", place.scans / "a")
    with pytest.raises(ValueError, match=r"can be that of a file, found '\.\./a'"):
        write_point_folder(place.points, [source], Scans(), HERE)


def test_a_folder_split_or_scene_that_is_not_there_is_told(place):
    with pytest.raises(ValueError, match=r"points: expected a points folder, found no such folder"):
        PointFolder(place.points)
    place.points.mkdir()
    with pytest.raises(
        ValueError, match=r"found no classes\.csv in it; tools/prepare_semantic\.py"
    ):
        PointFolder(place.points)
    place.write()
    folder = PointFolder(place.points)
    for split in ("val", "../points"):
        with pytest.raises(
            ValueError, match=r"expected a split '.*', found the splits \['train'\]"
        ):
            folder.names(split)
    with pytest.raises(ValueError, match=r"a scene of split 'train', found '\.\./a'"):
        folder.read("train", "../a")
    os.remove(place.points / "train" / "a.npz")
    with pytest.raises(ValueError, match=r"train/a\.npz: expected an archive of arrays"):
        folder.read("train", "a")


def test_a_file_of_other_arrays_is_refused(place):
    place.write()
    path = place.points / "train" / "a.npz"
    whole = {name: array for name, array in FIELDS.items() if array is not None}
    for wrong, found in (
        ({"x": np.zeros(3)}, r"expected the arrays .*, found \['x'\]"),
        ({**whole, "upright": np.zeros(4)}, r"expected upright as uint8 \[4\], found float64"),
        ({**whole, "semantic_ids": np.full(4, 7, "u1")}, r"expected class ids .*, found \[7\]"),
    ):
        np.savez(path, **wrong)
        with pytest.raises(ValueError, match=rf"a\.npz: expected the points of a scene.*{found}"):
            PointFolder(place.points).read("train", "a")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("place"))
    place.write("a")
    path = pathlib.Path(place.points, "train", "a.npz")
    return PointFolder(place.points), path, path.read_bytes()


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=50)
def test_a_cut_or_damaged_file_is_one_sentence(written, data):
    folder, path, content = written
    damaged = bytearray(content[: data.draw(st.integers(0, len(content) - 1))])
    if data.draw(st.booleans()):
        damaged = bytearray(content)
        place = data.draw(st.integers(0, len(content) - 1))
        damaged[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    told, found = "", None
    try:
        found = folder.read("train", "a")
    except ValueError as error:
        told = str(error)
    if found is None:
        assert told.startswith(f"{path}: ")
        assert "expected" in told
        assert "\n" not in told
        return
    path.write_bytes(content)  # what was damaged says nothing, such as a time
    for name, array in folder.read("train", "a").arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array)


def test_a_scene_that_is_damaged_is_made_again_when_told(place):
    place.write()
    path = place.points / "train" / "a.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"train/a\.npz: expected .* or give --overwrite"):
        place.write()
    assert place.write(overwrite=True).endswith("wrote 1 scenes; 2 were there already")
    assert len(PointFolder(place.points).read("train", "a").vertices) == 30
