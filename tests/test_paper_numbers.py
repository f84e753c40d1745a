"""What is transcribed from the paper is complete, and adds up where the print does."""

import numpy as np
import pytest

from experiments.paper_numbers import (
    AVERAGE,
    TABLE_1,
    TABLE_2,
    TABLE_3,
    TABLE_3_CLASSES,
    TABLE_3_DOUBTFUL,
    TABLE_3_RESTORED,
)
from mtml_tf.classes import SCANNET18


def test_table_1_has_five_objects_for_each_method():
    assert {len(row) for row in TABLE_1.values()} == {5}
    assert list(TABLE_1) == ["connected_components", "fe_only", "multi_task"]


def test_table_2_has_the_benchmarks_classes_in_its_order_for_each_method():
    assert list(TABLE_2) == [
        "segmentation_as_instance",
        "connected_components",
        "fe_only",
        "multi_task",
    ]
    for rows in TABLE_2.values():
        assert list(rows) == [*SCANNET18.names, AVERAGE]
        assert {len(scores) for scores in rows.values()} == {3}


@pytest.mark.parametrize("method", TABLE_2)
def test_averages_of_table_2_are_means_within_rounding(method):
    rows = dict(TABLE_2[method])
    printed = np.array(rows.pop(AVERAGE))
    # Three decimals: half a unit of the last one in the classes, and in the average.
    assert np.abs(np.mean(list(rows.values()), axis=0) - printed).max() <= 0.0005 + 0.0005


@pytest.mark.parametrize("method", TABLE_2)
def test_a_looser_threshold_never_lowers_a_score_of_table_2(method):
    for ap, ap50, ap25 in TABLE_2[method].values():
        assert 0 <= ap <= ap50 <= ap25 <= 1


def test_cells_of_table_2_stand_where_the_paper_has_them():
    assert TABLE_2["segmentation_as_instance"]["cabinet"] == (0.002, 0.008, 0.039)
    assert TABLE_2["connected_components"]["bathtub"] == (0.319, 0.631, 0.700)
    assert TABLE_2["fe_only"]["shower curtain"] == (0.392, 0.593, 0.710)
    assert TABLE_2["multi_task"]["otherfurniture"] == (0.097, 0.215, 0.335)
    assert [rows[AVERAGE][1] for rows in TABLE_2.values()] == [0.145, 0.230, 0.333, 0.402]


def test_table_3_has_thirteen_methods_by_descending_average():
    averages = [average for average, _ in TABLE_3.values()]
    assert len(TABLE_3) == 13
    assert averages == sorted(averages, reverse=True)
    assert sorted(TABLE_3_CLASSES) == sorted(SCANNET18.names)
    assert list(TABLE_3_CLASSES) == sorted(TABLE_3_CLASSES)
    assert {len(values) for _, values in TABLE_3.values()} == {18}
    assert all(0 <= value <= 1 for _, values in TABLE_3.values() for value in values)


def test_averages_of_table_3_are_means_within_rounding_but_for_the_doubtful_rows():
    # Two decimals in the classes, three in the average.
    off = {
        method
        for method, (average, values) in TABLE_3.items()
        if abs(np.mean(values) - average) > 0.005 + 0.0005
    }
    assert off == TABLE_3_DOUBTFUL


def test_marked_cells_are_cells_of_table_3():
    assert set(TABLE_3) >= TABLE_3_DOUBTFUL
    for method, name in TABLE_3_RESTORED:
        assert method in TABLE_3
        assert name in (*TABLE_3_CLASSES, AVERAGE)


def test_cells_of_table_3_stand_where_the_paper_has_them():
    def cell(method, name):
        return TABLE_3[method][1][TABLE_3_CLASSES.index(name)]

    assert cell("MTML (paper)", "shower curtain") == 1.0
    assert cell("3D-BoNet", "desk") == 0.31
    assert cell("MASC", "toilet") == 0.98
    assert cell("Unet-backbone", "sink") == 0.2
    assert cell("MaskRCNN proj", "picture") == 0.24
