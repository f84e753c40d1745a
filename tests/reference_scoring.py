"""The scoring rules once more, in plain Python: slow, and built unlike the package's own.

Every mask is a set of vertices, every rule a loop over objects. `python -m tests.reference_scoring`
compares both on 10,000 random cases (`--cases=N --seed=S`).
"""

import argparse
import math
import random

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.scene import Instance
from mtml_tf.scoring.average_precision import average_precision

# Floating-point steps, as the official program makes them.
THRESHOLDS = np.arange(0.5, 0.95, 0.05).tolist()
CLASSES = ClassSet(
    (1, 3, 5, 40), ("floor", "cup", "box", "lid"), ("stuff", "thing", "thing", "thing")
)


def reference_scores(scenes, thing_ids, min_vertices):
    """Returns {class id: (AP, AP50, AP25)} of [(ground truth ids, instances)]."""
    prepared = [
        (_truths(ids), _void(ids, thing_ids), _masks(instances, min_vertices))
        for ids, instances in scenes
    ]
    table = {}
    for class_id in thing_ids:
        at = {t: _score(prepared, class_id, t, min_vertices) for t in (*THRESHOLDS, 0.25)}
        mean = sum(at[t] for t in THRESHOLDS) / len(THRESHOLDS)
        table[class_id] = (mean, at[0.5], at[0.25])
    return table


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
    if not any_target:
        return math.nan
    if not any_prediction or not events:
        return 0.0
    return _curve_area(events, unfound)


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


def _random_mask(rng, ids):
    mask = set()
    for number in rng.sample(sorted(set(ids)), min(len(set(ids)), rng.choice([1, 1, 1, 2, 3]))):
        members = [vertex for vertex, other in enumerate(ids) if other == number]
        # Twentieths of an object of 20 or 40 give overlaps of exactly 0.25, 0.50, 0.55 ...
        part = rng.choice([1.0, rng.randint(5, 20) / 20, rng.random()])
        mask.update(members[: round(part * len(members))])
    return mask


def difference(scenes, min_vertices):
    """Returns the largest difference between both implementations; inf where only one is NaN."""
    expected = reference_scores(scenes, CLASSES.thing_ids, min_vertices)
    table = average_precision(iter(scenes), CLASSES, min_vertices)
    found = np.stack([table.ap, table.ap50, table.ap25], axis=1)
    wanted = np.array([expected[class_id] for class_id in table.class_ids])
    if (np.isnan(found) != np.isnan(wanted)).any():
        return math.inf
    return float(np.nanmax(np.abs(found - wanted), initial=0.0))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    cases = (random_case(rng) for _ in range(arguments.cases))
    largest = max(difference(*case) for case in cases)
    print(f"{arguments.cases} cases, largest difference {largest:.2g}")
    raise SystemExit(largest > 1e-12)


if __name__ == "__main__":
    main()
