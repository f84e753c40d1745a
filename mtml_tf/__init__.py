"""3D instance segmentation via multi-task metric learning, in TensorFlow 2.

The public names are loaded on first use, so that importing the package (or scoring with it) does
not import TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtml_tf.classes import ClassSet
    from mtml_tf.config import LossConfig, NetworkConfig, SegmentConfig
    from mtml_tf.data.pipeline import make_dataset
    from mtml_tf.inference.models import load_model
    from mtml_tf.inference.prediction import segment_scan
    from mtml_tf.network.architecture import build_network
    from mtml_tf.network.losses import (
        MultiTaskLoss,
        direction_loss,
        distance_loss,
        regularization_loss,
        variance_loss,
    )
    from mtml_tf.scans.scan import read_scan
    from mtml_tf.scans.voxels import devoxelize, voxelize
    from mtml_tf.scene import Instance, Scene, VoxelScene
    from mtml_tf.scoring.average_precision import average_precision
    from mtml_tf.segmentation.mean_shift import mean_shift
    from mtml_tf.segmentation.segment import segment

__version__ = "0.1.0"

__all__ = [
    "ClassSet",
    "Instance",
    "LossConfig",
    "MultiTaskLoss",
    "NetworkConfig",
    "Scene",
    "SegmentConfig",
    "VoxelScene",
    "average_precision",
    "build_network",
    "devoxelize",
    "direction_loss",
    "distance_loss",
    "load_model",
    "make_dataset",
    "mean_shift",
    "read_scan",
    "regularization_loss",
    "segment",
    "segment_scan",
    "variance_loss",
    "voxelize",
]

_MODULES = {
    "ClassSet": "classes",
    "Instance": "scene",
    "LossConfig": "config",
    "MultiTaskLoss": "network.losses",
    "NetworkConfig": "config",
    "Scene": "scene",
    "SegmentConfig": "config",
    "VoxelScene": "scene",
    "average_precision": "scoring.average_precision",
    "build_network": "network.architecture",
    "devoxelize": "scans.voxels",
    "direction_loss": "network.losses",
    "distance_loss": "network.losses",
    "load_model": "inference.models",
    "make_dataset": "data.pipeline",
    "mean_shift": "segmentation.mean_shift",
    "read_scan": "scans.scan",
    "regularization_loss": "network.losses",
    "segment": "segmentation.segment",
    "segment_scan": "inference.prediction",
    "variance_loss": "network.losses",
    "voxelize": "scans.voxels",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
