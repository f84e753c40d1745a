"""What was found in a scan, for people and for other programs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.scene import Instance, Scene


def summarize(scene: Scene, instances: Sequence[Instance], classes: ClassSet) -> dict[str, Any]:
    """Describes the instances of a scan in plain values, as JSON takes them.

    Args:
        scene: the scan, in whatever units and axes: boxes and centres are in these.
        instances: best first; indices are rows of its vertices.
        classes: names of their classes.

    Returns:
        {"scene", "num_vertices", "instances": [{"mask" (number of its mask file), "class_id",
        "class", "score", "num_vertices", "box_min" [3], "box_max" [3], "centre" [3] (mean of its
        vertices)}]}.
    """
    described = []
    for number, instance in enumerate(instances):
        vertices = scene.vertices[instance.indices]
        described.append(
            {
                "mask": number,
                "class_id": instance.class_id,
                "class": classes.name_of(instance.class_id),
                "score": instance.score,
                "num_vertices": len(instance.indices),
                "box_min": vertices.min(axis=0).tolist(),
                "box_max": vertices.max(axis=0).tolist(),
                "centre": vertices.mean(axis=0).tolist(),
            }
        )
    return {
        "scene": scene.name,
        "num_vertices": len(scene.vertices),
        "instances": described,
    }


def best_instances(instances: Sequence[Instance], count: int) -> np.ndarray:
    """Returns int32 [count], for each vertex the number (from 1) of the best instance, 0 for none.

    Args:
        instances: best first; indices are rows of `count` vertices.
        count: N.
    """
    numbers = np.zeros(count, np.int32)
    for number in range(len(instances), 0, -1):
        numbers[instances[number - 1].indices] = number
    return numbers
