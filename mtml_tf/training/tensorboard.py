"""What TensorBoard shows of a run beside its scalars: a validation scene, and the settings."""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tensorboard.plugins.hparams import summary_v2 as hparams_summary
from tensorboard.plugins.mesh import summary_v2 as mesh_summary

from mtml_tf.backend import tf
from mtml_tf.drawing.pictures import instance_colors
from mtml_tf.drawing.slices import draw_slices
from mtml_tf.drawing.view import INSTANCES, scan_view
from mtml_tf.inference.models import Model
from mtml_tf.scene import Scene, VoxelScene

Array = np.ndarray

SCENE = "validation_scene"
HYPERPARAMETERS = "hyperparameters"
# More points than these make the logs large and the browser slow, and the picture no clearer.
MAX_POINTS = 50_000
# From where the mesh is first seen: from the front, above and a little to the right (y up).
_VIEWPOINT = np.array([0.3, 0.6, 0.45])


def write_scene(log_dir: str | pathlib.Path, model: Model, scene: VoxelScene, step: int) -> None:
    """Writes what the model makes of a scene: slices in all colourings, instances as a mesh.

    The colourings are those of `scan_view`: input labels, ground truth, instances, embedding
    (principal components) and what else there is; a found object has the colour of the true one.

    Args:
        log_dir: folder of the logs.
        model: the model.
        scene: at least one voxel.
        step: the epoch.

    Raises:
        ValueError: a scene that the model was not trained for.
    """
    values = model.predict(scene)
    view = scan_view(
        Scene(
            name=scene.name,
            vertices=scene.origin + (scene.coordinates + 0.5) * scene.voxel_size,
            semantic_ids=scene.semantic_ids,
            instance_ids=scene.instance_ids,
        ),
        model.segment_values(scene, values),
        model.config.classes,
        embedding=values.embedding,
        direction=values.direction if model.config.has_direction else None,
        min_vertices=1,
    )
    # A mode is missing while nothing is found; the page should go on all the same.
    nothing_found = instance_colors(np.zeros(len(scene.coordinates), np.int32))
    modes = {INSTANCES: nothing_found, **view.modes}
    with _writing(log_dir, step):
        for mode, colors in modes.items():
            images = draw_slices(scene.coordinates, colors, scene.grid_shape)
            tag = f"{SCENE}/{mode.replace(' ', '_')}"
            tf.summary.image(tag, images, max_outputs=len(images), description=scene.name)
        _write_points(view.points, modes[INSTANCES], scene.voxel_size, scene.name)


def _write_points(points: Array, colors: Array, voxel_size: float, description: str) -> None:
    """Writes the centres of voxels, [M, 3] in metres and z up, for the mesh plugin.

    The plugin's camera circles around a y axis that points up, and expects the scene about 0.
    """
    stride = -(-len(points) // MAX_POINTS)
    x, y, z = (points - (points.min(axis=0) + points.max(axis=0)) / 2).astype(np.float32).T
    distance = float(np.linalg.norm(np.ptp(points, axis=0))) + voxel_size
    mesh_summary.mesh(
        f"{SCENE}/{INSTANCES}",
        vertices=np.stack([x, z, -y], axis=1)[None, ::stride],
        colors=colors[None, ::stride],
        config_dict={
            "camera": {"position": (distance * _VIEWPOINT).tolist()},
            "material": {"cls": "PointsMaterial", "size": voxel_size * stride**0.5},
        },
        description=description,
    )


def write_hyperparameters(log_dir: str | pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Writes the settings of a run, as a table and for the plugin that compares runs.

    Args:
        log_dir: folder of the logs; the plugin finds the run's scalars in folders within it.
        settings: values by name; mappings among them are opened, tuples written with commas.
    """
    values = _flat(settings)
    rows = [f"| {name} | {value} |" for name, value in sorted(values.items())]
    with _writing(log_dir, 0):
        tf.summary.text(HYPERPARAMETERS, "\n".join(["| name | value |", "| --- | --- |", *rows]))
        hparams_summary.hparams(values)


@contextlib.contextmanager
def _writing(log_dir: str | pathlib.Path, step: int) -> Iterator[None]:
    """Summaries within go to a new file in the folder, under this step."""
    writer = tf.summary.create_file_writer(str(log_dir))
    with contextlib.closing(writer), writer.as_default(step):
        yield


def _flat(settings: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Returns the settings as the plugin takes them."""
    values: dict[str, bool | int | float | str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            values |= _flat(value)
        elif isinstance(value, tuple | list):
            values[name] = ",".join(map(str, value))
        else:
            values[name] = value
    return values
