"""The one module that knows that there are two lanes of TensorFlow.

First lane: TensorFlow 2.15, whose Keras is version 2, with tensorflow-addons. Second lane: newer
TensorFlow, whose Keras 2 is the package tf-keras. All other modules take `tf` and `keras` from
here and are the same in both.
"""

import importlib.util
import os
import sys

# TensorFlow reads these variables when it is imported. Level 3 keeps quiet about CPU features and
# libraries it would use on other machines; what goes wrong still comes as a Python exception.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# oneDNN's convolutions are up to three times as fast as TensorFlow's own, but on CPUs without
# AVX512-VNNI, AVX-VNNI or AMX TensorFlow takes its own. It is too late after the import.
if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
if importlib.util.find_spec("tf_keras") is not None:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf

keras = tf.keras

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
ONEDNN_CAME_LATE = ONEDNN not in os.environ  # TensorFlow was imported before this module

_REMEDY = "install what requirements.txt names for this Python version (3.10 to 3.13)"


def _check_versions() -> None:
    """Raises ImportError at a TensorFlow before 2.15, or one whose Keras is not version 2."""
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    if version < (2, 15):
        raise ImportError(f"expected TensorFlow 2.15 or newer, found {tf.__version__}; {_REMEDY}")
    keras_version = sys.modules[keras.Model.__module__.partition(".")[0]].__version__
    if not keras_version.startswith("2."):
        raise ImportError(
            f"expected Keras 2, found {keras_version} in TensorFlow {tf.__version__}; {_REMEDY}, "
            f"and import mtml_tf before TensorFlow or set TF_USE_LEGACY_KERAS=1"
        )


_check_versions()


def gpu_memory_limits() -> dict[str, int]:
    """Returns how much memory TensorFlow may take of each GPU, bytes, by the device's name."""
    # No public name of TensorFlow tells this.
    from tensorflow.python.client import device_lib

    devices = device_lib.list_local_devices()
    return {device.name: device.memory_limit for device in devices if device.device_type == "GPU"}
