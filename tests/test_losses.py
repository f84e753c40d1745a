"""Tests of mtml_tf.network.losses."""

import math

import numpy as np
import pytest

from mtml_tf.backend import tf
from mtml_tf.config import LossConfig
from mtml_tf.network.losses import (
    MultiTaskLoss,
    direction_loss,
    distance_loss,
    label_loss,
    regularization_loss,
    variance_loss,
)

# In most tests, margins as in the defaults.
VAR, DIST = 0.5, 1.5


def f64(values):
    return tf.constant(values, tf.float64)


def i32(values):
    return tf.constant(values, tf.int32)


def random_scene(seed, max_instances=6):
    """Returns embedding, directions, coordinates, instance ids (unordered, some 0), float64."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40))
    names = rng.choice(np.arange(1, 100), max_instances, replace=False)
    ids = rng.choice([0, *names[: rng.integers(1, max_instances + 1)]], count).astype(np.int32)
    embedding = rng.normal(size=(count, 4)) * rng.choice([0.3, 1.0, 3.0])
    directions = rng.normal(size=(count, 3))
    cells = rng.permutation(12**3)[:count]
    coordinates = np.stack(np.unravel_index(cells, (12, 12, 12)), axis=1).astype(np.int32)
    return embedding, directions, coordinates, ids


# --- Values worked out by hand -----------------------------------------------------------------


def test_variance_by_hand():
    # Instance 7: mean (2, 0), both voxels 2 away, hinge 2 - 0.5 = 1.5, squared 2.25.
    # Instance 3: mean (0, 1); both voxels 0.25 away: within the margin, 0.
    # Mean over the two instances: 1.125.
    embedding = f64([[0, 0], [4, 0], [0, 0.75], [0, 1.25]])
    assert float(variance_loss(embedding, i32([7, 7, 3, 3]), 0.5)) == pytest.approx(1.125)


def test_variance_averages_within_an_instance_first():
    # Instance 1: means 0; voxels at 3, -3 twice: hinge (3 - 1)^2 = 4. Instance 2: one voxel, 0.
    # Mean of 4 and 0 is 2, though four of the five voxels count 4.
    embedding = f64([[3], [3], [-3], [-3], [50]])
    assert float(variance_loss(embedding, i32([1, 1, 1, 1, 2]), 1.0)) == pytest.approx(2.0)


def test_distance_by_hand():
    # Centres (0, 0), (1, 0), (0, 2); hinge at 3. Distances 1, 2, sqrt 5:
    # lacks 2, 1, 3 - sqrt 5, squared 4 + 1 + 0.583592 = 5.583592; each pair twice, over C (C - 1).
    embedding = f64([[-1, 0], [1, 0], [1, 0], [0, 2]])
    value = float(distance_loss(embedding, i32([4, 4, 9, 2]), 1.5))
    assert value == pytest.approx((5 + (3 - math.sqrt(5)) ** 2) / 3)
    assert value == pytest.approx(1.861197, abs=1e-6)


def test_centres_farther_apart_than_the_hinge_are_not_pushed():
    assert float(distance_loss(f64([[0.0], [3.0], [-4.0]]), i32([1, 2, 3]), 1.5)) == 0
    assert float(distance_loss(f64([[0.0], [2.9]]), i32([1, 2]), 1.5)) == pytest.approx(0.01)


def test_regularization_by_hand():
    # Means (3, 4) and (0, 0): lengths 5 and 0, mean 2.5.
    embedding = f64([[3, 4], [1, 1], [-1, -1]])
    assert float(regularization_loss(embedding, i32([5, 6, 6]))) == pytest.approx(2.5)


def test_direction_by_hand():
    # Voxels at x = 0 and x = 2, centre at 1. The first looks right (cosine 1), the second
    # sideways (0): mean cosine 0.5, loss -0.5.
    coordinates = [[0, 0, 0], [2, 0, 0]]
    directions = f64([[5, 0, 0], [0, 0.1, 0]])
    assert float(direction_loss(directions, coordinates, i32([1, 1]))) == pytest.approx(-0.5)


def test_direction_averages_within_an_instance_first():
    # Instance 1 (two voxels) all right: -1. Instance 2 (four voxels in a row, centre 1.5) all
    # wrong: 1. Mean 0, though there are more wrong voxels.
    coordinates = [[0, 0, 0], [2, 0, 0], [0, 5, 0], [1, 5, 0], [2, 5, 0], [3, 5, 0]]
    directions = f64(np.array([1, -1, -1, -1, 1, 1])[:, None] * [1, 0, 0])
    assert float(direction_loss(directions, coordinates, i32([1, 1, 2, 2, 2, 2]))) == pytest.approx(
        0
    )


def test_directions_towards_the_centre_are_the_best_and_away_the_worst():
    coordinates = np.argwhere(np.ones((4, 2, 6)))  # no voxel lies at the centre
    towards = coordinates.mean(axis=0) - coordinates
    ids = np.ones(len(coordinates), np.int32)
    assert float(direction_loss(f64(towards), coordinates, ids)) == pytest.approx(-1)
    assert float(direction_loss(f64(-towards), coordinates, ids)) == pytest.approx(1)


# --- A reference with plain loops --------------------------------------------------------------


def instances_of(ids):
    return [np.flatnonzero(ids == i) for i in sorted(set(ids.tolist()) - {0})]


def reference_variance(embedding, ids, delta_var):
    total, instances = 0.0, instances_of(ids)
    for rows in instances:
        centre = sum(embedding[i] for i in rows) / len(rows)
        pull = 0.0
        for i in rows:
            pull += max(0.0, math.dist(centre, embedding[i]) - delta_var) ** 2
        total += pull / len(rows)
    return total / len(instances) if instances else 0.0


def reference_distance(embedding, ids, delta_dist):
    centres = [sum(embedding[i] for i in rows) / len(rows) for rows in instances_of(ids)]
    count, total = len(centres), 0.0
    for a in range(count):
        for b in range(count):
            if a != b:
                total += max(0.0, 2 * delta_dist - math.dist(centres[a], centres[b])) ** 2
    return total / (count * (count - 1)) if count > 1 else 0.0


def reference_regularization(embedding, ids):
    instances = instances_of(ids)
    lengths = [math.hypot(*(sum(embedding[i] for i in rows) / len(rows))) for rows in instances]
    return sum(lengths) / len(lengths) if lengths else 0.0


def reference_direction(directions, coordinates, ids):
    total, instances = 0.0, instances_of(ids)
    for rows in instances:
        centre = sum(coordinates[i].astype(float) for i in rows) / len(rows)
        cosines = 0.0
        for i in rows:
            target, predicted = centre - coordinates[i], directions[i]
            lengths = math.hypot(*target) * math.hypot(*predicted)
            cosines += float(target @ predicted) / lengths if lengths else 0.0
        total -= cosines / len(rows)
    return total / len(instances) if instances else 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_equal_the_reference_on_random_scenes(dtype):
    for seed in range(60):
        embedding, directions, coordinates, ids = random_scene(seed)
        x, v = embedding.astype(dtype), directions.astype(dtype)
        values = [
            variance_loss(x, ids, VAR),
            distance_loss(x, ids, DIST),
            regularization_loss(x, ids),
            direction_loss(v, coordinates, ids),
        ]
        expected = [
            reference_variance(embedding, ids, VAR),
            reference_distance(embedding, ids, DIST),
            reference_regularization(embedding, ids),
            reference_direction(directions, coordinates, ids),
        ]
        assert all(value.dtype == dtype for value in values)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


# --- Invariances -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_names_of_instances_do_not_matter(seed):
    embedding, directions, coordinates, ids = random_scene(seed)
    table = np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(99)])
    for loss in (
        lambda ids: variance_loss(embedding, ids, VAR),
        lambda ids: distance_loss(embedding, ids, DIST),
        lambda ids: regularization_loss(embedding, ids),
        lambda ids: direction_loss(directions, coordinates, ids),
    ):
        assert float(loss(table[ids])) == pytest.approx(float(loss(ids)), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_order_of_voxels_does_not_matter(seed):
    embedding, directions, coordinates, ids = random_scene(seed)
    order = np.random.default_rng(seed).permutation(len(ids))
    for loss in (
        lambda rows: variance_loss(embedding[rows], ids[rows], VAR),
        lambda rows: distance_loss(embedding[rows], ids[rows], DIST),
        lambda rows: regularization_loss(embedding[rows], ids[rows]),
        lambda rows: direction_loss(directions[rows], coordinates[rows], ids[rows]),
    ):
        expected = float(loss(np.arange(len(ids))))
        assert float(loss(order)) == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_moving_all_features_changes_only_the_regularization(seed):
    embedding, _, _, ids = random_scene(seed)
    ids[0] = 1
    moved = embedding + np.array([30.0, -7.0, 0.5, 2.0])
    for loss in (variance_loss, distance_loss):
        assert float(loss(moved, ids, 0.4)) == pytest.approx(float(loss(embedding, ids, 0.4)))
    assert float(regularization_loss(moved, ids)) > 10 + float(regularization_loss(embedding, ids))


@pytest.mark.parametrize("seed", range(5))
def test_moving_the_scene_and_lengthening_directions_changes_nothing(seed):
    _, directions, coordinates, ids = random_scene(seed)
    expected = float(direction_loss(directions, coordinates, ids))
    moved = coordinates + np.array([100, -3, 17], np.int32)
    assert float(direction_loss(directions * 37.5, moved, ids)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_background_takes_no_part(seed):
    embedding, directions, coordinates, ids = random_scene(seed)
    ids[:2] = 0
    far, wild = embedding.copy(), directions.copy()
    far[ids == 0], wild[ids == 0] = 1e3, -wild[ids == 0]
    assert float(variance_loss(far, ids, VAR)) == float(variance_loss(embedding, ids, VAR))
    assert float(distance_loss(far, ids, DIST)) == float(distance_loss(embedding, ids, DIST))
    assert float(regularization_loss(far, ids)) == float(regularization_loss(embedding, ids))
    expected = float(direction_loss(directions, coordinates, ids))
    assert float(direction_loss(wild, coordinates, ids)) == expected
    gradients = gradients_of(
        lambda x, v: (
            variance_loss(x, ids, VAR)
            + distance_loss(x, ids, DIST)
            + regularization_loss(x, ids)
            + direction_loss(v, coordinates, ids)
        ),
        embedding,
        directions,
    )
    for gradient in gradients:
        np.testing.assert_array_equal(gradient[ids == 0], 0)


# --- Surroundings ------------------------------------------------------------------------------


def test_surroundings_are_pulled_as_if_they_were_as_large_as_a_usual_object():
    # Object 3 has 2 voxels, 2 from their mean: hinge 1.5, squared 2.25, mean 2.25. Object 5 has 4,
    # all at one place: 0. So a usual object has 3. The surroundings have 6 voxels, all 2 from their
    # mean: 6 * 2.25 / 3 = 4.5. Over two objects: (2.25 + 0 + 4.5) / 2.
    embedding = f64([[0], [4], *[[9]] * 4, *[[-4], [0]] * 3])
    ids = i32([3, 3, 5, 5, 5, 5, *[-1] * 6])
    assert float(variance_loss(embedding, ids, 0.5)) == pytest.approx(3.375)


def test_label_loss_by_hand():
    # Two channels and none. Logits ln 2, ln 1, ln 1: probabilities 1/2, 1/4, 1/4.
    labels = f64([[math.log(2), 0, 0], [math.log(2), 0, 0], [0, 0, 0]])
    expected = (math.log(2) + math.log(4) + math.log(3)) / 3  # the last is -1, none of them
    assert float(label_loss(labels, i32([0, -1, 1]))) == pytest.approx(expected)
    assert float(label_loss(labels, i32([0, -2, -2]))) == pytest.approx(math.log(2))
    assert float(label_loss(labels, i32([-2, -2, -2]))) == 0


def test_surroundings_alone_are_pulled_like_objects():
    embedding, _, _, ids = random_scene(0)
    expected = float(variance_loss(embedding, ids, VAR))
    assert float(variance_loss(embedding, -ids, VAR)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_surroundings_are_pushed_like_objects_and_have_no_direction(seed):
    embedding, directions, coordinates, ids = random_scene(seed)
    some = np.where(ids % 2 == 0, -ids, ids)
    for loss in (
        lambda i: distance_loss(embedding, i, DIST),
        lambda i: regularization_loss(embedding, i),
    ):
        assert float(loss(some)) == pytest.approx(float(loss(ids)))
    expected = float(direction_loss(directions, coordinates, np.maximum(some, 0)))
    assert float(direction_loss(directions, coordinates, some)) == pytest.approx(expected)


# --- Gradients ---------------------------------------------------------------------------------


def gradients_of(loss, *values):
    inputs = [tf.constant(value) for value in values]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(*inputs)
    gradients = tape.gradient(value, inputs, unconnected_gradients="zero")
    return [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["variance", "distance", "regularization", "direction"])
def test_gradients_equal_finite_differences(name, seed):
    embedding, directions, coordinates, ids = random_scene(seed)
    loss, at = {
        "variance": (lambda x: variance_loss(x, ids, VAR), embedding),
        "distance": (lambda x: distance_loss(x, ids, DIST), embedding),
        "regularization": (lambda x: regularization_loss(x, ids), embedding),
        "direction": (lambda v: direction_loss(v, coordinates, ids), directions),
    }[name]
    (gradient,) = gradients_of(loss, at)
    step = 1e-6
    for way in np.random.default_rng(seed).normal(size=(6, *at.shape)):
        slope = (float(loss(at + step * way)) - float(loss(at - step * way))) / (2 * step)
        assert float((gradient * way).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_every_instance_is_pushed_the_first_one_too():
    # Two centres 1 apart: both are pushed, with equal force, away from each other.
    (gradient,) = gradients_of(
        lambda x: distance_loss(x, i32([1, 2]), 1.5), np.array([[0.0], [1.0]])
    )
    # d/dx of (3 - |b - a|)^2 (two ordered pairs over C (C - 1) = 2): 2 * 2 = 4.
    np.testing.assert_allclose(gradient, [[4], [-4]])


# --- Degenerate scenes -------------------------------------------------------------------------

LOSSES = {
    "variance": lambda x, v, c, ids: variance_loss(x, ids, VAR),
    "distance": lambda x, v, c, ids: distance_loss(x, ids, DIST),
    "regularization": lambda x, v, c, ids: regularization_loss(x, ids),
    "direction": lambda x, v, c, ids: direction_loss(v, c, ids),
}
POINT, RIGHT = [0.3, 0.4], [1.0, 0.0, 0.0]
CASES = {
    # (embedding, directions, coordinates, ids): variance, distance, regularization, direction.
    "no voxels": ((np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((0, 3)), []), (0, 0, 0, 0)),
    "no instance": (([POINT] * 2, [RIGHT] * 2, [[0, 0, 0], [1, 0, 0]], [0, 0]), (0, 0, 0, 0)),
    "one instance": (([POINT] * 2, [RIGHT] * 2, [[0, 0, 0], [1, 0, 0]], [5, 5]), (0, 0, 0.5, 0)),
    "one voxel": (([POINT], [RIGHT], [[3, 4, 5]], [1]), (0, 0, 0.5, 0)),
    # The middle voxel counts 0, the first 1, the last -1: mean 0.
    "a voxel at its centre": (
        ([POINT] * 3, [RIGHT] * 3, [[0, 0, 0], [1, 0, 0], [2, 0, 0]], [1, 1, 1]),
        (0, 0, 0.5, 0),
    ),
    # Identical centres: (2 * 1.5)^2 = 9. The lone voxels have no direction.
    "two identical centres": (
        ([POINT] * 2, [RIGHT] * 2, [[0, 0, 0], [9, 0, 0]], [1, 2]),
        (0, 9, 0.5, 0),
    ),
    # All at the origin; a direction of zero counts 0, the other one is right: -1/2.
    "zeros": (
        (np.zeros((2, 2)), [[0, 0, 0], [-2, 0, 0]], [[0, 0, 0], [2, 0, 0]], [1, 1]),
        (0, 0, 0, -0.5),
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_degenerate_scenes_have_right_values_and_finite_gradients(case, dtype):
    (embedding, directions, coordinates, ids), expected = CASES[case]
    x, v = np.asarray(embedding, dtype), np.asarray(directions, dtype)
    c, ids = np.asarray(coordinates, np.int32), np.asarray(ids, np.int32)
    for loss, value in zip(LOSSES.values(), expected, strict=True):
        assert float(loss(x, v, c, ids)) == pytest.approx(value)
        for gradient in gradients_of(lambda x, v, loss=loss: loss(x, v, c, ids), x, v):
            assert np.isfinite(gradient).all()


def test_two_identical_centres_count_the_full_penalty_among_others():
    # Centres 0, 0 and 10 with hinge 3: one pair of three counts 9, the others 0.
    assert float(distance_loss(f64([[0], [0], [10]]), i32([1, 2, 3]), 1.5)) == pytest.approx(3)


@pytest.mark.parametrize("length", [1e-12, 1e-18, 1e-19, 3e-20, 1e-22, 1e-30])
def test_tiny_directions_have_finite_gradients(length):
    directions = np.array([[length, length, 0], [-length, 0, length]], np.float32)
    (gradient,) = gradients_of(
        lambda v: direction_loss(v, np.array([[0, 0, 0], [3, 1, 0]]), i32([1, 1])), directions
    )
    assert np.isfinite(gradient).all()


# --- The layer ---------------------------------------------------------------------------------


def two_scenes():
    """Two random scenes as a batch with padding rows, float32, whose instances share ids."""
    parts = []
    for seed in (1, 2):
        embedding, directions, coordinates, ids = random_scene(seed)
        missing = 40 - len(ids)
        ids = np.where(ids > 0, ids % 3 + 1, 0)
        rows = [(0, missing), (0, 0)]
        parts.append(
            (
                np.pad(embedding, rows, constant_values=9.0).astype(np.float32),
                np.pad(directions, rows, constant_values=9.0).astype(np.float32),
                np.pad(coordinates, rows, constant_values=-1),
                np.pad(ids, rows[0]).astype(np.int32),
            )
        )
    return [np.stack(values) for values in zip(*parts, strict=True)]


def run_layer(config, embedding, directions, coordinates, ids):
    """Returns the layer's total loss and its logged terms."""
    layer = MultiTaskLoss(config)
    layer(
        {"embedding": embedding, "direction": directions},
        coordinates=coordinates,
        instance_ids=ids,
    )
    (total,) = layer.losses
    return float(total), {metric.name: float(metric.result()) for metric in layer.metrics}


def reference_terms(embedding, directions, coordinates, ids, config):
    return {
        "variance": reference_variance(embedding, ids, config.delta_var),
        "distance": reference_distance(embedding, ids, config.delta_dist),
        "regularization": reference_regularization(embedding, ids),
        "direction": reference_direction(directions, coordinates, ids),
    }


def test_the_layer_averages_over_scenes_and_weighs_as_in_eq_1_and_6():
    config = LossConfig(
        delta_var=0.3,
        delta_dist=2.0,
        gamma_var=3.0,
        gamma_dist=5.0,
        gamma_reg=0.01,
        alpha_feature=0.7,
        alpha_direction=1.1,
    )
    batch = two_scenes()
    total, logged = run_layer(config, *batch)
    of_scenes = [reference_terms(*scene, config) for scene in zip(*batch, strict=True)]
    means = {name: np.mean([terms[name] for terms in of_scenes]) for name in of_scenes[0]}
    assert logged == pytest.approx(means, rel=1e-5)
    l_fe = 3.0 * means["variance"] + 5.0 * means["distance"] + 0.01 * means["regularization"]
    assert total == pytest.approx(0.7 * l_fe + 1.1 * means["direction"], rel=1e-5)


def test_the_default_weights_are_the_papers():
    total, logged = run_layer(LossConfig(), *two_scenes())
    assert min(map(abs, logged.values())) > 0.01  # each has its part in the sum
    l_fe = logged["variance"] + logged["distance"] + 0.001 * logged["regularization"]
    assert total == pytest.approx(0.5 * l_fe + 1.0 * logged["direction"], rel=1e-5)


def test_equal_ids_in_different_scenes_never_meet():
    # One instance in each scene, of the same id: taken together they would have a variance,
    # and with different ids a distance.
    embedding = np.array([[[0.0], [0.0]], [[2.0], [2.0]]], np.float32)
    directions = np.ones((2, 2, 3), np.float32)
    coordinates = np.array([[[0, 0, 0], [2, 0, 0]], [[50, 0, 0], [52, 0, 0]]], np.int32)
    for ids in ([[1, 1], [1, 1]], [[1, 1], [2, 2]]):
        _, logged = run_layer(LossConfig(), embedding, directions, coordinates, np.int32(ids))
        assert logged["variance"] == logged["distance"] == 0
        assert logged["direction"] == pytest.approx(0, abs=1e-6)


def test_terms_without_weight_are_absent():
    batch = two_scenes()
    total, logged = run_layer(LossConfig(alpha_direction=0.0), *batch)
    assert set(logged) == {"variance", "distance", "regularization"}
    l_fe = logged["variance"] + logged["distance"] + 0.001 * logged["regularization"]
    assert total == pytest.approx(0.5 * l_fe, rel=1e-5)
    total, logged = run_layer(LossConfig(alpha_feature=0.0), *batch)
    assert set(logged) == {"direction"}
    assert total == pytest.approx(logged["direction"])


def test_labels_have_a_loss_where_their_truth_is_known():
    embedding, directions, coordinates, ids = two_scenes()
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(2, 40, 4)).astype(np.float32)
    channels = rng.integers(-2, 3, (2, 40)).astype(np.int32)
    outputs = {"embedding": embedding, "direction": directions, "labels": labels}
    config = LossConfig(alpha_direction=0.0, alpha_feature=1e-9, alpha_label=0.7)
    layer = MultiTaskLoss(config)
    layer(outputs, coordinates, ids, true_channels=channels)
    expected = np.mean([float(label_loss(*scene)) for scene in zip(labels, channels, strict=True)])
    assert float(layer.losses[0]) == pytest.approx(0.7 * expected, rel=1e-5)


def test_the_layer_passes_outputs_through_and_tells_its_settings():
    layer = MultiTaskLoss(LossConfig(delta_var=0.1), name="loss")
    embedding, directions, coordinates, ids = two_scenes()
    outputs = {"embedding": embedding, "direction": directions}
    passed = layer(outputs, coordinates=coordinates, instance_ids=ids)
    for name, values in outputs.items():
        np.testing.assert_array_equal(passed[name], values)
    copy = MultiTaskLoss.from_config(layer.get_config())
    assert (copy.name, copy.config) == ("loss", LossConfig(delta_var=0.1))
