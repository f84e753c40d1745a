"""Tests of experiments.semantic_rooms."""

import numpy as np

from experiments import semantic_rooms
from mtml_tf.classes import SCANNET20
from mtml_tf.scoring.semantic_iou import semantic_iou


def test_a_class_counts_where_the_scenes_have_it():
    first = semantic_iou([(np.array([1, 1, 2, 2]), np.array([1, 2, 2, 2]))], SCANNET20)
    second = semantic_iou([(np.array([1, 5]), np.array([1, 1]))], SCANNET20)
    rows = semantic_rooms.encode_table({"rooms": first, "real": second}).splitlines()
    cells = {cells[0]: cells[1:] for cells in (row.strip("| ").split(" | ") for row in rows)}
    assert cells["wall"] == ["0.500", "0.500"]
    assert cells["floor"] == ["0.667", "-"]
    assert cells["chair"] == ["-", "0.000"]
    assert "cabinet" not in cells
    assert cells["mean"] == ["0.583", "0.250"]
    assert cells["vertices that are right"] == ["0.750", "0.500"]
