"""Average precision: hand-computed cases, invariances, and a plain implementation beside it."""

import random
import weakref

import hypothesis
import numpy as np
import pytest
import reference_scoring
from hypothesis import strategies as st

from mtml_tf.classes import SCANNET18, ClassSet
from mtml_tf.scene import Instance
from mtml_tf.scoring import average_precision as scoring
from mtml_tf.scoring.average_precision import average_precision

CUP = ClassSet((1, 3), ("floor", "cup"), ("stuff", "thing"))
TWO = ClassSet((3, 5), ("cup", "box"), ("thing", "thing"))


def ids_of(*runs):
    """Ground truth of runs (id, number of vertices)."""
    return np.repeat(*np.array(runs, np.int64).reshape(-1, 2).T)


def instance(start, stop, score=1.0, class_id=3):
    return Instance(class_id, score, np.arange(start, stop, dtype=np.int32))


def ap50(ids, *instances, min_vertices=10):
    return average_precision([(ids, instances)], CUP, min_vertices).ap50[0]


def check(table, **expected):
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(table, name), values, rtol=0, atol=1e-12)


def test_thresholds_are_nine_and_a_quarter():
    np.testing.assert_array_equal(scoring.THRESHOLDS, [*np.arange(0.5, 0.95, 0.05), 0.25])
    assert len(scoring.AP_THRESHOLDS) == 9


def test_a_perfect_prediction_scores_1():
    table = average_precision([(ids_of((3001, 20), (1000, 30)), [instance(0, 20)])], CUP, 10)
    check(table, ap=[1], ap50=[1], ap25=[1])


def test_an_overlap_of_0_72_passes_five_of_nine_thresholds():
    # 18 vertices of 20, and 5 of the floor: 18 / 25.
    ids = ids_of((3001, 20), (1000, 30))
    table = average_precision([(ids, [instance(2, 25)])], CUP, 10)
    check(table, ap=[5 / 9], ap50=[1], ap25=[1])


@pytest.mark.parametrize(("stop", "expected"), [(10, 0), (11, 1)])
def test_an_overlap_of_exactly_the_threshold_is_no_match(stop, expected):
    assert ap50(ids_of((3001, 20), (1000, 30)), instance(0, stop)) == expected


def test_precision_and_recall_by_hand():
    # By falling score: right, wrong, right; two of four objects are found. From low to high:
    # precision 2/3, 1/2, 1, 1 and recall 2/4, 1/4, 1/4, 0.
    ids = ids_of((3001, 20), (3002, 20), (3003, 20), (3004, 20), (3005, 5), (5001, 20))
    found = instance(0, 20, 0.9), instance(85, 105, 0.5), instance(20, 40, 0.2)
    by_hand = (2 / 3 * 1 / 4 + 1 / 2 * 1 / 4 + 1 * 1 / 4 + 1 * 1 / 4) / 2
    assert average_precision([(ids, found)], TWO, 10).ap50[0] == pytest.approx(by_hand, abs=1e-12)


def test_equal_scores_make_one_point_of_the_curve():
    # One point, precision 1/2 and recall 1, then (1, 0): half of 1/2 plus half of 1.
    ids = ids_of((3001, 20), (5001, 20))
    table = average_precision([(ids, [instance(0, 20, 0.5), instance(20, 40, 0.5)])], TWO, 10)
    assert table.ap50[0] == pytest.approx(0.75, abs=1e-12)


def test_a_second_match_is_a_false_positive_with_the_lower_score():
    # By falling score: right, wrong, and right for the other object. From low to high: precision
    # 2/3, 1/2, 1, 1 and recall 1, 1/2, 1/2, 0.
    by_hand = (2 / 3 * 1 / 2 + 1 / 2 * 1 / 2 + 1 * 1 / 2 + 1 * 1 / 2) / 2
    ids = ids_of((3001, 20), (3002, 20))
    for one, two in ((0.3, 0.8), (0.8, 0.3)):
        found = instance(0, 20, one), instance(1, 20, two), instance(20, 40, 0.1)
        assert ap50(ids, *found) == pytest.approx(by_hand, abs=1e-12)


def test_a_second_match_may_still_match_another_object():
    # At 0.25 both predictions match both objects. The first is spent on object 1 (the second is
    # its false positive), and the second is free to find object 2.
    ids = ids_of((3001, 20), (3002, 20))
    table = average_precision([(ids, [instance(0, 40, 0.9), instance(1, 39, 0.4)])], CUP, 10)
    # Right: 0.9 and 0.4, wrong: 0.4. Precision 2/3, 1, 1 and recall 1, 1/2, 0.
    assert table.ap25[0] == pytest.approx((2 / 3 * 0.5 + 1 * 1.0 + 1 * 0.5) / 2, abs=1e-12)


def test_small_predictions_are_left_out():
    ids = ids_of((3001, 20), (5001, 20))
    small, large = instance(20, 29, 1.0), instance(20, 30, 1.0)
    assert average_precision([(ids, [instance(0, 20, 0.5), small])], TWO, 10).ap50[0] == 1
    assert average_precision([(ids, [instance(0, 20, 0.5), large])], TWO, 10).ap50[0] < 1


def test_small_objects_are_no_targets_and_their_matches_no_mistakes():
    ids = ids_of((3001, 20), (3002, 9), (5001, 20))
    found = [instance(0, 20, 0.5), instance(18, 29, 0.9)]
    assert average_precision([(ids, found)], TWO, 10).ap50[0] == 1


def test_a_class_of_small_objects_only_is_not_scored():
    assert np.isnan(ap50(ids_of((3001, 9), (1000, 30)), instance(0, 12)))


@pytest.mark.parametrize(("void", "expected"), [(10, 0.75), (11, 1.0)])
def test_a_prediction_is_ignored_where_more_than_the_threshold_is_void(void, expected):
    # 20 vertices, of which `void` on the floor and the rest on a box; equal scores.
    ids = ids_of((3001, 20), (5001, 20 - void), (1000, void))
    table = average_precision([(ids, [instance(0, 20), instance(20, 40)])], TWO, 1)
    assert table.ap50[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("void", [0, 999, 1000, 2001, 40001, -1])
def test_all_but_scored_classes_is_void(void):
    assert ap50(ids_of((3001, 20), (void, 20)), instance(0, 20), instance(20, 40)) == 1


def test_instance_0_of_a_scored_class_is_an_object_too():
    ids = ids_of((3001, 20), (3000, 20))
    assert ap50(ids, instance(0, 20)) == pytest.approx(0.5, abs=1e-12)
    assert ap50(ids, instance(0, 20), instance(20, 40)) == 1


def test_a_class_without_predictions_scores_0_and_one_without_objects_nan():
    table = average_precision([(ids_of((3001, 20)), [instance(0, 20, class_id=5)])], TWO, 10)
    check(table, ap=[0, np.nan], ap50=[0, np.nan], ap25=[0, np.nan])
    assert table.average == scoring.ApValues(0.0, 0.0, 0.0)


def test_a_class_of_which_all_is_ignored_scores_0():
    ids = ids_of((3001, 20), (1000, 20))
    table = average_precision([(ids, []), (ids, [instance(20, 40)])], CUP, 10)
    check(table, ap=[0], ap50=[0], ap25=[0])


def test_nothing_at_all_is_nan():
    for scenes in ([], [(np.zeros(0, np.int64), [])], [(ids_of((0, 30)), [])]):
        table = average_precision(scenes, CUP)
        assert np.isnan([*table.ap, *table.ap50, *table.ap25]).all()
        assert np.isnan(table.average.ap)


def test_a_class_set_without_things_has_an_empty_table():
    floor = ClassSet((1,), ("floor",), ("stuff",))
    table = average_precision([(ids_of((1000, 30)), [])], floor)
    assert table.rows()[0][0] == "average"
    assert table.encode_csv() == "class,class id,ap,ap50,ap25\n"


def test_predictions_of_classes_that_are_not_scored_are_left_out():
    ids = ids_of((3001, 20), (5001, 20))
    strangers = [instance(20, 40, class_id=1), instance(20, 40, class_id=99)]
    assert ap50(ids, instance(0, 20), *strangers) == 1


def test_empty_predictions_are_left_out_even_where_no_size_is_asked_for():
    empty = Instance(3, 1.0, np.zeros(0, np.int32))
    with np.errstate(all="raise"):
        assert ap50(ids_of((3001, 20)), instance(0, 20, 0.5), empty, min_vertices=0) == 1


def test_scenes_share_one_curve():
    # Right with 0.5 in the one scene, wrong with 0.9 in the other.
    one = ids_of((3001, 20)), [instance(0, 20, 0.5)]
    other = ids_of((5001, 20)), [instance(0, 20, 0.9)]
    # Precision 1/2, 0, 1 and recall 1, 0, 0.
    table = average_precision(iter([one, other]), TWO, 10)
    assert table.ap50[0] == pytest.approx(0.25, abs=1e-12)


def test_averages_are_of_the_classes_with_objects():
    ids = ids_of((3001, 20), (4001, 20))
    table = average_precision([(ids, [instance(20, 40, class_id=4)])], SCANNET18, 10)
    assert np.isnan(table.ap50).sum() == 16
    assert table.average == scoring.ApValues(0.5, 0.5, 0.5)


def test_the_order_of_a_predictions_rows_does_not_matter():
    shuffled = Instance(3, 1.0, np.array([5, 2, 2, *range(12), 2], np.int32))
    assert ap50(ids_of((3001, 20), (0, 9)), shuffled) == 1
    assert average_precision([(ids_of((3001, 20)), [shuffled])], CUP, 13).ap50[0] == 0


def test_huge_class_ids_score_as_small_ones():
    huge = ClassSet((1_000_000,), ("cup",), ("thing",))
    scene = ids_of((1_000_000_001, 20), (0, 20)), [instance(0, 15, class_id=1_000_000)]
    check(average_precision([scene], huge, 10), ap50=[1], ap=[5 / 9])


def test_scenes_are_taken_one_by_one():
    made = []

    def scenes():
        for _ in range(5):
            ids, found = ids_of((3001, 20)), instance(0, 20)
            made.extend([weakref.ref(ids), weakref.ref(found)])
            yield ids, [found]
            del ids, found
            assert sum(reference() is not None for reference in made) <= 2

    assert average_precision(scenes(), CUP, 10).ap50[0] == 1
    assert len(made) == 10


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (instance(10, 21), "expected vertex rows from 0 to 19, found 10 to 20"),
        (Instance(3, 1.0, np.array([-1, 2])), "expected vertex rows from 0 to 19, found -1 to 2"),
        (instance(0, 20, float("nan")), "expected finite scores, found nan"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(found, sentence):
    scene = ids_of((3001, 20)), [found]
    with pytest.raises(ValueError, match=f"^scene 2 of those scored: {sentence}$"):
        average_precision([(ids_of((3001, 20)), []), scene], CUP)


@hypothesis.given(st.integers(0, 2**32))
@hypothesis.settings(max_examples=300)
def test_the_plain_implementation_agrees(seed):
    scenes, min_vertices = reference_scoring.random_case(random.Random(seed))
    assert reference_scoring.difference(scenes, min_vertices) < 1e-12


def test_the_random_cases_hold_every_situation():
    rng = random.Random(0)
    left = set(reference_scoring.SITUATIONS)
    for _ in range(1000):
        left -= reference_scoring.situations(*reference_scoring.random_case(rng))
        if not left:
            return
    assert left == set()


@st.composite
def small_cases(draw):
    sizes = st.sampled_from([1, 4, 5, 10, 20])
    numbers = st.sampled_from([0, 1000, 3000, 3001, 3002, 5001, 40001])
    scenes = []
    for _ in range(draw(st.integers(1, 2))):
        ids = ids_of(*draw(st.lists(st.tuples(numbers, sizes), min_size=1, max_size=6)))
        masks = st.tuples(st.integers(0, len(ids)), st.integers(0, len(ids))).map(sorted)
        described = st.tuples(masks, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([3, 5, 40]))
        drawn = draw(st.lists(described, max_size=6))
        scenes.append((ids, [instance(*mask, score, c) for mask, score, c in drawn]))
    return scenes, draw(st.sampled_from([0, 1, 5]))


@hypothesis.given(small_cases())
@hypothesis.settings(max_examples=100)
def test_the_plain_implementation_agrees_on_the_smallest_cases(case):
    assert reference_scoring.difference(*case) < 1e-12


@hypothesis.given(st.integers(0, 2**32))
@hypothesis.settings(max_examples=50)
def test_vertex_order_and_the_scale_of_scores_do_not_matter(seed):
    rng = random.Random(seed)
    scenes, min_vertices = reference_scoring.random_case(rng)
    changed = []
    for ids, instances in scenes:
        order = np.random.default_rng(seed).permutation(len(ids))
        place = np.argsort(order)
        moved = [
            Instance(i.class_id, i.score**3 / 2 - 1, np.sort(place[i.indices])) for i in instances
        ]
        changed.append((ids[order], moved))
    one, other = (
        average_precision(s, reference_scoring.CLASSES, min_vertices) for s in (scenes, changed)
    )
    check(other, ap=one.ap, ap50=one.ap50, ap25=one.ap25)


@pytest.fixture
def table():
    return scoring.ApTable(
        (3, 40),
        ("cup", "lid, round"),
        np.array([1 / 3, np.nan]),
        np.array([0.5, np.nan]),
        np.array([1.0, np.nan]),
    )


def test_rows_end_with_the_average(table):
    assert table.rows()[0] == ("cup", 1 / 3, 0.5, 1.0)
    assert [row[0] for row in table.rows()] == ["cup", "lid, round", "average"]
    assert table.rows()[-1][1:] == (1 / 3, 0.5, 1.0)


def test_text_is_aligned(table):
    assert table.encode_text() == (
        "class           AP    AP50    AP25\n"
        "cup          0.333   0.500   1.000\n"
        "lid, round     nan     nan     nan\n"
        "average      0.333   0.500   1.000\n"
    )


def test_markdown_is_a_table(table):
    lines = table.encode_markdown().splitlines()
    assert lines[:3] == [
        "| class | AP | AP50 | AP25 |",
        "| --- | ---: | ---: | ---: |",
        "| cup | 0.333 | 0.500 | 1.000 |",
    ]
    assert len(lines) == 5


def test_csv_has_the_official_header_full_precision_and_no_average(table):
    assert table.encode_csv() == (
        "class,class id,ap,ap50,ap25\n"
        "cup,3,0.3333333333333333,0.5,1.0\n"
        '"lid, round",40,nan,nan,nan\n'
    )


def test_csv_of_scannet_has_18_rows_in_the_official_order():
    lines = average_precision([], SCANNET18).encode_csv().splitlines()
    assert len(lines) == 19
    assert lines[1] == "cabinet,3,nan,nan,nan"
    assert lines[-1] == "otherfurniture,39,nan,nan,nan"
