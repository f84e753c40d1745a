"""Tests of predictions from several turned views of a scan."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from own_scans import (
    BARE,
    CLASSES,
    Held,
    assert_finds_box_and_ball,
    room,
    tiny_model,
    write_binary_ply,
)

from experiments import real_rooms
from mtml_tf.inference import many_scenes, models, prediction
from mtml_tf.scans.scan_file import ScanFile
from mtml_tf.scene import Scene
from mtml_tf.scoring.benchmark_format import read_predictions


class KnownModel(models.Model):
    """Instead of a network: the embedding tells the label, the direction is x of the grid."""

    def predict(self, scene):
        label = scene.semantic_ids[:, None].astype(np.float32)
        along_x = np.eye(3, dtype=np.float32)[0] + 0 * label
        labels = np.where(label > 2, [[0, 0, 0.75, 0.25]], [[1.0, 0, 0, 0]])
        return models.Values(np.concatenate([label, 0 * label], axis=1), along_x, labels)


@dataclasses.dataclass(frozen=True)
class SeeingModel(KnownModel):
    """A known one that keeps what it is asked about."""

    seen: list = dataclasses.field(default_factory=list)

    def predict(self, scene):
        self.seen.append(scene)
        return super().predict(scene)


def known_model(kind=KnownModel, **segment):
    config = tiny_model().config
    changed = dataclasses.replace(config.segment, **segment)
    return kind(dataclasses.replace(config, segment=changed), None)


def room_scene(**fields):
    vertices, labels = room()
    return Scene("room", vertices, semantic_ids=labels.astype(np.int32), **fields)


def predict_views(model, num_views, scene=None):
    scene = scene or room_scene()
    voxel_scene = prediction.voxelize_for(scene, model)
    return voxel_scene, prediction.predict_views(scene, voxel_scene, model, num_views)


def test_one_view_is_what_the_network_gives_to_the_last_bit():
    model = tiny_model()
    voxel_scene, found = predict_views(model, 1)
    for values, expected in zip(found, model.predict(voxel_scene), strict=True):
        np.testing.assert_array_equal(values, expected)


def test_directions_are_turned_back_and_added_up():
    # The second view is turned by 135 degrees: its x is, turned back, (-1, -1) / sqrt(2).
    _, (_, direction, _) = predict_views(known_model(), 2)
    half = np.sqrt(0.5)
    expected = np.broadcast_to([1 - half, -half, 0], direction.shape)
    np.testing.assert_allclose(direction, expected, atol=1e-6)
    assert direction.dtype == np.float32


def test_embeddings_stand_side_by_side_and_distances_are_means():
    boxes = room_scene()
    # Two points far apart, so that no voxel of any view holds both.
    scene = dataclasses.replace(
        boxes, vertices=boxes.vertices[[0, 1700]], semantic_ids=np.array([1, 7], np.int32)
    )
    _, (embedding, *_) = predict_views(known_model(), 4, scene)
    np.testing.assert_array_equal(embedding, np.array([[1.0], [7]]) * np.tile([0.5, 0], 4))
    assert embedding.dtype == np.float32
    assert np.linalg.norm(embedding[1] - embedding[0]) == 6


def test_a_voxel_gets_the_mean_over_its_vertices_in_the_other_grid():
    # One voxel at first; turned by 135 degrees the two vertices are 0.113 m apart along x, and
    # each lies in a voxel of its own.
    scene = Scene(
        "pair",
        np.array([[0.0, 0.09, 0], [0.09, 0, 0], [0.09, 0, 0]]),
        semantic_ids=np.array([2, 7, 7], np.int32),
    )
    voxel_scene, (embedding, _, labels) = predict_views(known_model(), 2, scene)
    assert voxel_scene.semantic_ids.tolist() == [7]
    np.testing.assert_allclose(embedding * np.sqrt(2), [[7, 0, 16 / 3, 0]], rtol=1e-6)
    # The mean of what the first view sees, and of what the vertices see in the second one.
    np.testing.assert_allclose(labels, [[1 / 6, 0, 0.625, 5 / 24]], rtol=1e-6)


@pytest.mark.parametrize("has_direction", [True, False])
def test_several_views_find_what_one_finds_where_the_network_says_the_same(has_direction):
    model = known_model(propose_clusters=True)
    model = dataclasses.replace(
        model, config=dataclasses.replace(model.config, has_direction=has_direction)
    )
    for num_views in (1, 3):
        found = prediction.segment_scan(room_scene(), model, num_views)
        assert_finds_box_and_ball(found)


def test_every_view_has_the_probabilities_of_its_own_voxels():
    model = known_model(SeeingModel, probability_ids=CLASSES.ids)
    _, labels = room()
    features = np.eye(3, dtype=np.float32)[np.searchsorted(CLASSES.ids, labels)]
    prediction.segment_scan(room_scene(features=features), model, 2)
    first, second = model.seen
    assert first.grid_shape != second.grid_shape
    for view in (first, second):
        np.testing.assert_allclose(view.features.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(
            view.semantic_ids, np.array(CLASSES.ids)[view.features.argmax(axis=1)]
        )


def test_no_view_at_all_is_refused():
    with pytest.raises(ValueError, match="expected at least 1 view, found 0"):
        prediction.segment_scan(room_scene(), known_model(), 0)


def test_scans_are_written_as_seen_from_several_views(tmp_path):
    model = known_model(SeeingModel)
    scans = {}
    for name in ("a", "b"):
        write_binary_ply(tmp_path / f"{name}.ply", *room(), "<")
        scans[tmp_path / "out" / name] = ScanFile(str(tmp_path / f"{name}.ply"))
    done = list(many_scenes.predict_scans(Held(model), scans, written=BARE, num_views=2))
    assert [count for _, count, _ in done] == [2, 2]
    assert len(model.seen) == 4
    assert_finds_box_and_ball(read_predictions(tmp_path / "out" / "b", "b", 2900))


def test_the_program_sees_a_scan_from_several_views(tmp_path):
    model = tiny_model()
    models.write_model_config(tmp_path / "run", model.config)
    models.write_weights(tmp_path / "run", models.LAST, model.network)
    write_binary_ply(tmp_path / "a.ply", *room(), "<")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mtml_tf.predict", f"--run_dir={tmp_path / 'run'}"),
            *(f"--scan={tmp_path / 'a.ply'}", "--views=2", "--noextras"),
            f"--output_dir={tmp_path / 'out'}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_finds_box_and_ball(read_predictions(tmp_path / "out", "a", 2900))


def test_methods_on_real_rooms_see_as_many_views_as_are_asked_for():
    model = known_model(SeeingModel)
    methods = real_rooms.methods_of(model, num_views=3)
    scene = room_scene()
    voxel_scene = prediction.voxelize_for(scene, model)
    assert_finds_box_and_ball(methods["multi_task"](scene, voxel_scene))
    assert len(model.seen) == 3
