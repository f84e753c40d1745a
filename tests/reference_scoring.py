"""The scoring rules once more, in plain Python: slow, and built unlike the package's own.

Every mask is a set of vertices, every rule a loop over objects. `python -m tests.reference_scoring`
compares both on 10,000 random cases (`--cases=N --seed=S`) and says how many of them hold each of
the situations in which an implementation may go wrong. `--folders=40` compares both on files of 40
scenes instead, and tells the seconds that each takes.
"""

import argparse
import collections
import math
import pathlib
import random
import tempfile
import time

import numpy as np

from mtml_tf.classes import SCANNET18, ClassSet
from mtml_tf.scene import Instance
from mtml_tf.scoring.average_precision import average_precision
from mtml_tf.scoring.benchmark_format import write_ground_truth, write_predictions
from mtml_tf.scoring.folders import evaluate_folder

# Floating-point steps, as the official program makes them.
THRESHOLDS = np.arange(0.5, 0.95, 0.05).tolist()
CLASSES = ClassSet(
    (1, 3, 5, 40), ("floor", "cup", "box", "lid"), ("stuff", "thing", "thing", "thing")
)


def reference_scores(scenes, thing_ids, min_vertices):
    """Returns {class id: (AP, AP50, AP25)} of [(ground truth ids, instances)]."""
    prepared = _prepare(scenes, thing_ids, min_vertices)
    table = {}
    for class_id in thing_ids:
        at = {t: _score(prepared, class_id, t, min_vertices) for t in (*THRESHOLDS, 0.25)}
        mean = sum(at[t] for t in THRESHOLDS) / len(THRESHOLDS)
        table[class_id] = (mean, at[0.5], at[0.25])
    return table


def reference_counts(scenes, thing_ids, min_vertices, threshold):
    """Returns {class id: (right predictions, wrong predictions, unfound objects)}."""
    prepared = _prepare(scenes, thing_ids, min_vertices)
    table = {}
    for class_id in thing_ids:
        events, unfound, _, _ = _match(prepared, class_id, threshold, min_vertices)
        right = sum(is_right for _, is_right in events)
        table[class_id] = (right, len(events) - right, unfound)
    return table


def _prepare(scenes, thing_ids, min_vertices):
    return [
        (_truths(ids), _void(ids, thing_ids), _masks(instances, min_vertices))
        for ids, instances in scenes
    ]


def _truths(ids):
    members = {}
    for vertex, number in enumerate(ids.tolist()):
        members.setdefault(number, set()).add(vertex)
    return sorted(members.items())


def _void(ids, thing_ids):
    return {vertex for vertex, number in enumerate(ids.tolist()) if number // 1000 not in thing_ids}


def _masks(instances, min_vertices):
    masks = [(i.class_id, set(i.indices.tolist()), i.score) for i in instances]
    return [mask for mask in masks if mask[1] and len(mask[1]) >= min_vertices]


def _overlap(one, other):
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def _score(scenes, class_id, threshold, min_vertices):
    events, unfound, any_target, any_prediction = _match(scenes, class_id, threshold, min_vertices)
    if not any_target:
        return math.nan
    if not any_prediction or not events:
        return 0.0
    return _curve_area(events, unfound)


def _match(scenes, class_id, threshold, min_vertices):
    events = []  # (score, whether it is right)
    unfound = 0
    any_target = any_prediction = False
    for truths, void, masks in scenes:
        objects = [mask for number, mask in truths if number // 1000 == class_id]
        targets = [mask for mask in objects if len(mask) >= min_vertices]
        ignored = void.union(*(mask for mask in objects if len(mask) < min_vertices))
        candidates = [(mask, score) for c, mask, score in masks if c == class_id]
        any_target = any_target or bool(targets)
        any_prediction = any_prediction or bool(candidates)
        spent = [False] * len(candidates)
        for target in targets:
            held = None
            for place, (mask, score) in enumerate(candidates):
                if spent[place] or not _overlap(mask, target) > threshold:
                    continue
                if held is None:
                    held = score
                    spent[place] = True
                else:
                    events.append((min(held, score), False))
                    held = max(held, score)
            if held is None:
                unfound += 1
            else:
                events.append((held, True))
        for mask, score in candidates:
            if any(_overlap(mask, other) > threshold for other in objects):
                continue
            if len(mask & ignored) / len(mask) <= threshold:
                events.append((score, False))
    return events, unfound, any_target, any_prediction


def _curve_area(events, unfound):
    total = sum(right for _, right in events) + unfound
    points = []  # precision and recall of all that has at least a certain score
    for least in sorted({score for score, _ in events}):
        kept = [right for score, right in events if score >= least]
        points.append((sum(kept) / len(kept), sum(kept) / total))
    points.append((1.0, 0.0))
    area = 0.0  # each precision weighs half the recall between its two neighbours
    for place, (precision, _) in enumerate(points):
        before = points[max(place - 1, 0)][1]
        after = points[place + 1][1] if place + 1 < len(points) else 0.0
        area += precision * 0.5 * (before - after)
    return area


def random_case(rng):
    """Returns (scenes, min_vertices), small and nasty.

    Objects come in sizes that put overlaps and ignored shares on the thresholds to the bit, scores
    tie, masks repeat, cover several objects or only void, and classes stay empty.
    """
    min_vertices = rng.choice([0, 1, 5, 10, 10, 20])
    classes = rng.sample([3, 5, 40], rng.randint(1, 3))
    count = rng.randint(1, 3)
    return [_random_scene(rng, classes, min_vertices) for _ in range(count)], min_vertices


def _random_scene(rng, classes, min_vertices):
    if rng.random() < 0.25:
        return _trap_scene(rng, classes, min_vertices)
    ids = []
    for _ in range(rng.randint(1, 6)):
        number = rng.choice(classes) * 1000 + rng.choice([0, 1, 2, 3, 999])
        if rng.random() < 0.3:
            number = rng.choice([0, 7, 1000, 1002, 2001, 3001, 40000, 41001])
        small, odd = max(min_vertices - 1, 1), rng.randint(1, 30)
        ids += [number] * rng.choice([20, 20, 40, 10, min_vertices, small, odd])
    ids = ids or [0]
    if rng.random() < 0.2:
        rng.shuffle(ids)
    instances = []
    for _ in range(rng.randint(0, 7)):
        if instances and rng.random() < 0.15:
            mask = rng.choice(instances).indices
        else:
            mask = np.array(sorted(_random_mask(rng, ids)), np.int32)
        class_id = rng.choice([*classes, *classes, *classes, 3, 1, 99])
        score = rng.choice([0.0, 0.25, 0.5, 0.5, 1.0, rng.random()])
        instances.append(Instance(class_id, score, mask))
    return np.array(ids, np.int64), instances


def _trap_scene(rng, classes, min_vertices):
    """An object that several match, a small one that is matched, and shares of exactly 0.25 ..."""
    class_id = rng.choice(classes)
    number, small = class_id * 1000, max(min_vertices - 1, 1)
    other, void = rng.choice([3, 5, 40]) * 1000 + 3, rng.choice([0, 1000])
    ids = [number + 1] * 20 + [number + 2] * small + [other] * 20 + [void] * 20
    masks = [range(rng.randint(14, 20)) for _ in range(rng.randint(0, 3))]
    for _ in range(rng.randint(0, 2)):
        void_rows = rng.choice([5, *range(10, 19)])  # of 20, the rest on the other object
        masks.append(range(20 + small + void_rows, 40 + small + void_rows))
    if rng.random() < 0.5:
        masks.append([*range(20, 20 + small), len(ids) - 1])
    rng.shuffle(masks)
    scores = [0.0, 0.5, 0.5, 1.0, rng.random()]
    return np.array(ids, np.int64), [
        Instance(class_id, rng.choice(scores), np.array(mask, np.int32)) for mask in masks
    ]


def _random_mask(rng, ids):
    mask = set()
    for number in rng.sample(sorted(set(ids)), min(len(set(ids)), rng.choice([1, 1, 1, 2, 3]))):
        members = [vertex for vertex, other in enumerate(ids) if other == number]
        # Twentieths of an object of 20 or 40 give overlaps of exactly 0.25, 0.50, 0.55 ...
        part = rng.choice([1.0, rng.randint(5, 20) / 20, rng.random()])
        mask.update(members[: round(part * len(members))])
    return mask


SITUATIONS = (
    "equal scores",
    "a mask twice",
    "on void",
    "an id of no scored class",
    "instance 0 of a scored class",
    "an object of just enough vertices",
    "an object of one vertex too few",
    "a prediction of just enough vertices",
    "a prediction of one vertex too few",
    "a match with a small object",
    "objects but no predictions",
    "predictions but no objects",
    "neither objects nor predictions",
    "a scene without predictions",
    "nothing predicted at all",
    "all predictions ignored",
    "a second match with a lower score",
    "a second match with a higher score",
    "three matches with one object",
    "two objects matched by one prediction",
    *(f"an overlap of {threshold:.2f}" for threshold in (0.25, *THRESHOLDS)),
    *(f"an ignored share of {threshold:.2f}" for threshold in (0.25, *THRESHOLDS)),
)


def situations(scenes, min_vertices):
    """Returns those of `SITUATIONS` that a case holds."""
    found = set()
    thing_ids = CLASSES.thing_ids
    prepared = _prepare(scenes, thing_ids, min_vertices)
    empty = [not instances for _, instances in scenes]
    if all(empty):
        found.add("nothing predicted at all")
    elif any(empty):
        found.add("a scene without predictions")
    for ids, instances in scenes:
        if any(number // 1000 not in thing_ids for number in ids.tolist()):
            found.add("an id of no scored class")
        if any(len(set(i.indices.tolist())) == min_vertices - 1 for i in instances):
            found.add("a prediction of one vertex too few")
    for class_id in thing_ids:
        events, _, any_target, any_prediction = _match(prepared, class_id, 0.5, min_vertices)
        if any_target != any_prediction:
            first, last = ("objects", "predictions") if any_target else ("predictions", "objects")
            found.add(f"{first} but no {last}")
        elif not any_target:
            found.add("neither objects nor predictions")
        elif not events:
            found.add("all predictions ignored")
        for scene in prepared:
            found |= _situations_of_class(*scene, class_id, min_vertices)
    return found


def _situations_of_class(truths, void, masks, class_id, min_vertices):
    found = set()
    objects = [(number, mask) for number, mask in truths if number // 1000 == class_id]
    candidates = [(mask, score) for c, mask, score in masks if c == class_id]
    scores = [score for _, score in candidates]
    if len(set(scores)) < len(scores):
        found.add("equal scores")
    if any(one == other for i, (one, _) in enumerate(candidates) for other, _ in candidates[:i]):
        found.add("a mask twice")
    ignored = void.union(*(mask for _, mask in objects if len(mask) < min_vertices))
    for mask, _ in candidates:
        if mask & void:
            found.add("on void")
        if len(mask) == min_vertices:
            found.add("a prediction of just enough vertices")
        for threshold in (0.25, *THRESHOLDS):
            if abs(len(mask & ignored) / len(mask) - threshold) < 1e-12:
                found.add(f"an ignored share of {threshold:.2f}")
        matched = [o for _, o in objects if len(o) >= min_vertices and _overlap(mask, o) > 0.25]
        if len(matched) > 1:
            found.add("two objects matched by one prediction")
    for number, members in objects:
        if number % 1000 == 0:
            found.add("instance 0 of a scored class")
        if len(members) == min_vertices:
            found.add("an object of just enough vertices")
        if len(members) == min_vertices - 1:
            found.add("an object of one vertex too few")
        matching = [score for mask, score in candidates if _overlap(mask, members) > 0.5]
        if matching and len(members) < min_vertices:
            found.add("a match with a small object")
            continue
        if len(matching) == 2 and matching[0] != matching[1]:
            change = "lower" if matching[1] < matching[0] else "higher"
            found.add(f"a second match with a {change} score")
        if len(matching) >= 3:
            found.add("three matches with one object")
        for threshold in (0.25, *THRESHOLDS):
            if any(abs(_overlap(mask, members) - threshold) < 1e-12 for mask, _ in candidates):
                found.add(f"an overlap of {threshold:.2f}")
    return found


def difference(scenes, min_vertices):
    """Returns the largest difference between both implementations; inf where only one is NaN."""
    expected = reference_scores(scenes, CLASSES.thing_ids, min_vertices)
    return _table_difference(average_precision(iter(scenes), CLASSES, min_vertices), expected)


def _table_difference(table, expected):
    found = np.stack([table.ap, table.ap50, table.ap25], axis=1)
    wanted = np.array([expected[class_id] for class_id in table.class_ids])
    if (np.isnan(found) != np.isnan(wanted)).any():
        return math.inf
    return float(np.nanmax(np.abs(found - wanted), initial=0.0))


def score_folders(prediction_dir, ground_truth_dir, thing_ids, min_vertices):
    """Returns what `reference_scores` does, of files, read line by line."""
    scenes = []
    for path in sorted(pathlib.Path(ground_truth_dir).glob("*.txt")):
        instances = []
        for line in (pathlib.Path(prediction_dir) / path.name).read_text().splitlines():
            mask_path, class_id, score = line.split(" ")
            mask = _read_lines(pathlib.Path(prediction_dir) / mask_path)
            instances.append(Instance(int(class_id), float(score), np.flatnonzero(mask)))
        scenes.append((_read_lines(path), instances))
    return reference_scores(scenes, thing_ids, min_vertices)


def _read_lines(path):
    return np.array([int(line) for line in path.read_text().splitlines()])


def write_rooms(folder, num_scenes, num_vertices=150_000, num_masks=50, seed=0):
    """Writes `pred` and `truth` of the size of ScanNet's rooms.

    30 objects a scene lie side by side on two thirds of the vertices. Predictions are objects with
    shifted borders, some of another class.
    """
    rng = np.random.default_rng(seed)
    for number in range(num_scenes):
        borders = np.sort(rng.choice(num_vertices * 2 // 3, 31, replace=False))
        class_ids = rng.choice(SCANNET18.ids, 30)
        ids = np.zeros(num_vertices, np.int64)
        for i, class_id in enumerate(class_ids):
            ids[borders[i] : borders[i + 1]] = class_id * 1000 + i + 1
        found = []
        for i in rng.choice(30, num_masks):
            length = borders[i + 1] - borders[i]
            start = max(0, borders[i] + int(rng.normal(0, 0.1) * length))
            class_id = class_ids[i] if rng.random() < 0.8 else rng.choice(SCANNET18.ids)
            rows = np.arange(start, start + length, dtype=np.int32)
            found.append(Instance(int(class_id), float(rng.random()), rows))
        write_ground_truth(folder / "truth" / f"room_{number:03d}.txt", ids)
        write_predictions(folder / "pred", f"room_{number:03d}", found, num_vertices)


def _timed(function, *arguments):
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def _compare_folders(num_scenes, seed):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_rooms(folder, num_scenes, seed=seed)
        table, seconds = _timed(evaluate_folder, folder / "pred", folder / "truth", SCANNET18)
        masks = sorted((folder / "pred" / "predicted_masks").iterdir())
        _, reading = _timed(lambda: [_read_lines(path) for path in masks])
        expected, plain = _timed(
            score_folders, folder / "pred", folder / "truth", SCANNET18.ids, 100
        )
    largest = _table_difference(table, expected)
    print(
        f"{num_scenes} scenes, {len(masks)} masks: evaluate {seconds:.2f} s, plain {plain:.1f} s "
        f"(of which reading masks {reading:.1f} s), {plain / seconds:.0f} times; average AP "
        f"{table.average.ap:.3f}, largest difference {largest:.2g}"
    )
    return largest


def _compare_cases(num_cases, seed):
    rng = random.Random(seed)
    largest = 0.0
    counts = collections.Counter()
    for _ in range(num_cases):
        case = random_case(rng)
        largest = max(largest, difference(*case))
        counts.update(situations(*case))
    for situation in SITUATIONS:
        print(f"{counts[situation]:6}  {situation}")
    print(f"{num_cases} cases, largest difference {largest:.2g}")
    return largest


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--folders", type=int, default=0, help="number of scenes")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.folders:
        largest = _compare_folders(arguments.folders, arguments.seed)
    else:
        largest = _compare_cases(arguments.cases, arguments.seed)
    raise SystemExit(largest > 1e-12)


if __name__ == "__main__":
    main()
