"""Ground truth as the benchmark wants it: one number for each vertex."""

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.scene import Scene, VoxelScene

INSTANCES_PER_CLASS = 1000


def ground_truth_ids(scene: Scene | VoxelScene, classes: ClassSet) -> np.ndarray:
    """Returns `class_id * 1000 + instance` for every vertex (or voxel).

    Stuff has the instance 0. A vertex of a thing class that belongs to no instance is taken as
    unannotated (0): the benchmark would otherwise take all such vertices of a class for one
    more object.

    Args:
        scene: with semantic_ids and instance_ids.
        classes: the classes of its ids.

    Returns:
        int64 [N], or [M] for a voxelized scene.

    Raises:
        ValueError: no labels or no instances, a class id that is not in `classes`, or an instance
            id outside 0..999.
    """
    owner = f"scene {scene.name}"
    if scene.semantic_ids is None or scene.instance_ids is None:
        raise ValueError(f"{owner}: expected labels and instances, found a scene without them")
    try:
        classes.channels_of(scene.semantic_ids)
    except ValueError as error:
        raise ValueError(f"{owner}: {error}") from error
    is_thing = classes.is_thing(scene.semantic_ids)
    semantic_ids = scene.semantic_ids.astype(np.int64)
    instance_ids = np.where(is_thing, scene.instance_ids, 0).astype(np.int64)
    wrong = (instance_ids < 0) | (instance_ids >= INSTANCES_PER_CLASS)
    if wrong.any():
        raise ValueError(
            f"{owner}: expected instance ids from 0 to {INSTANCES_PER_CLASS - 1}, found "
            f"{instance_ids[wrong][0]}; number the instances of each scene from 1"
        )
    unannotated = is_thing & (instance_ids == 0)
    return np.where(unannotated, 0, semantic_ids * INSTANCES_PER_CLASS + instance_ids)
