import numpy as np
import pytest

from mtml_tf.rooms import shell

GREY = (128, 128, 128)
L_SHAPE = shell.Plan((5.0, 4.0, 2.5), ((0.0, 0.0), (0.0, 0.0), (2.0, 1.5), (0.0, 0.0)))


def ground(mesh):
    """The area that boxes cover, seen from above."""
    boxes = mesh.vertices.reshape(-1, 8, 3)
    return np.prod(np.ptp(boxes[:, :, :2], axis=1), axis=1).sum()


def test_a_plan_is_a_rectangle_without_corners():
    assert ground(L_SHAPE.slab(0, 1, GREY)) == pytest.approx(5 * 4 - 2 * 1.5)
    walls = L_SHAPE.walls()
    assert len(walls) == 6
    assert sum(wall.length for wall in walls) == pytest.approx(2 * (5 + 4))
    assert sum(not wall.outer for wall in walls) == 2
    assert len(shell.Plan((5.0, 4.0, 2.5)).walls()) == 4


def test_walls_look_into_the_room():
    for wall in L_SHAPE.walls():
        inside = shell.box((0.1, 0.1, 0.1), (wall.length / 2, -0.2, 0), GREY)
        (piece,) = wall.placed([shell.Piece("box", inside)])
        middle = (piece.mesh.low + piece.mesh.high)[:2] / 2
        assert np.all((middle > 0) & (middle < (5, 4)))
        assert not np.all(middle > (3, 2.5))


def test_plans_are_of_all_sizes_and_shapes():
    plans = [
        shell.draw_plan((12, 60), (2.4, 3.0), np.random.default_rng(seed)) for seed in range(80)
    ]
    areas = np.array([ground(plan.slab(0, 1, GREY)) for plan in plans])
    assert 12 - 1e-6 < areas.min() < 15
    assert 50 < areas.max() < 60 + 1e-6
    corners = np.bincount([len(plan.walls()) for plan in plans], minlength=9)
    assert np.all(corners[[4, 6, 8]] >= 8)


def test_a_wall_has_its_holes():
    holes = [shell.Hole(1.0, 2.0, 0.0, 2.0), shell.Hole(2.5, 3.5, 1.0, 2.0)]
    mesh = shell._wall_with_holes(4.0, 2.5, holes, GREY)
    boxes = mesh.vertices.reshape(-1, 8, 3)
    sides = np.prod(np.ptp(boxes[:, :, [0, 2]], axis=1), axis=1)
    assert sides.sum() == pytest.approx(4 * 2.5 - 2 - 1)
    for x, z in ((1.5, 1.0), (3.0, 1.5)):
        within = np.all((boxes.min(axis=1) < (x, 1, z)) & (boxes.max(axis=1) > (x, 0, z)), axis=1)
        assert not within.any()


def test_doors_are_alone_and_in_pairs_closed_and_with_a_view():
    groups = [shell.doors(np.random.default_rng(seed)) for seed in range(40)]
    counts = np.bincount([len(group.pieces) for group in groups])
    assert min(counts[1:]) >= 8
    assert 8 <= sum(bool(group.beyond) for group in groups) <= 36
    into_the_room = [group for group in groups if group.pieces[0].mesh.low[1] < -0.3]
    assert len(into_the_room) >= 4


def test_curtains_hang_in_pairs_that_may_touch():
    groups = [shell.window(np.random.default_rng(seed)) for seed in range(40)]
    gaps = []
    for group in groups:
        curtains = [piece.mesh for piece in group.pieces if piece.label == "curtain"]
        assert len(curtains) in (0, 2)
        if curtains:
            gaps.append(curtains[1].low[0] - curtains[0].high[0])
    assert 8 < len(gaps) < 32
    assert 0.3 < np.mean(np.array(gaps) < 0.05) < 1.0
