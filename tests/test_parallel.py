"""Tests of mtml_tf.parallel."""

import math
import operator
import os
import pathlib

import pytest

from mtml_tf import parallel


@pytest.mark.parametrize("num_workers", [0, 1, 2, 9])
def test_results_come_in_the_order_of_the_items(num_workers):
    items = [7, 3, 5]
    assert list(parallel.map_processes(operator.neg, items, "numbers", num_workers)) == [-7, -3, -5]


def test_nothing_to_do_starts_no_process():
    assert list(parallel.map_processes(operator.neg, [], "numbers", 4)) == []


def test_a_process_that_dies_is_told_and_not_waited_for():
    with pytest.raises(
        ValueError, match="expected 2 processes to work on rooms, found that one has died"
    ):
        list(parallel.map_processes(os._exit, [1, 1], "rooms", 2))


def test_what_the_function_raises_comes_through():
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(parallel.map_processes(math.sqrt, [1, -1], "roots", 2))


def test_cores_are_those_that_this_process_may_use():
    assert 1 <= parallel.num_cores() <= os.cpu_count()


def test_results_that_nobody_takes_are_not_made_far_ahead(tmp_path):
    paths = [tmp_path / str(number) for number in range(40)]
    results = parallel.map_processes(pathlib.Path.touch, paths, "files", 2)
    next(results)
    results.close()
    assert 1 <= len(list(tmp_path.iterdir())) <= 2 * parallel.AHEAD + 1
