"""A semantic network as a SavedModel, which plain TensorFlow runs.

The signature, `serving_default`, takes the inputs of `semantic.network` by their names, and gives
`logits` float32 [S_1, number of classes], of the sites. `batches.network_input` makes the inputs.

Beside the graph lie `assets/classes.csv`, the classes in the order of the logits, and
`assets/semantic.json`, what the network is: the size of its voxels, its input channels and levels.
"""

import pathlib
import tempfile
from typing import Any

from mtml_tf import files
from mtml_tf.backend import tf
from mtml_tf.classes import encode_classes
from mtml_tf.inference.exporting import EXPORTED, VERSION_FOLDER, quiet
from mtml_tf.semantic.models import (
    DESCRIPTION,
    SemanticModel,
    encode_description,
    find_run_folders,
    load_semantic_model,
)
from mtml_tf.semantic.point_folder import CLASSES

LOGITS = "logits"


def load_for_export(path: str | pathlib.Path) -> SemanticModel:
    """Loads the one network of a run.

    Args:
        path: see `find_run_folders`.

    Raises:
        ValueError: no model there, or one network for each of several folds.
    """
    folders = find_run_folders(path)
    if len(folders) > 1:
        raise ValueError(
            f"{path}: expected a run of one network to export, found those of {len(folders)} "
            f"folds; give the folder of one of them, such as --run_dir={folders[0]}"
        )
    return load_semantic_model(folders[0])


def write_semantic_saved_model(
    model: SemanticModel, output_dir: str | pathlib.Path, overwrite: bool = False
) -> pathlib.Path:
    """Writes a model as SavedModel, in the folder `1` of `output_dir`.

    Args:
        model: a trained model; it stays as it is.
        output_dir: a folder of versions; other versions in it stay as they are.
        overwrite: replace the version there is.

    Returns:
        The folder of the SavedModel.

    Raises:
        ValueError: it exists and `overwrite` is False, or can't be written.
    """
    path = pathlib.Path(output_dir) / VERSION_FOLDER
    network = model.network

    def logits(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {LOGITS: network(inputs, training=False)}

    specs = {
        name: tf.TensorSpec(tensor.shape, tensor.dtype, name)
        for name, tensor in network.input.items()
    }
    with (
        files.writing_folder(path, overwrite, EXPORTED) as folder,
        tempfile.TemporaryDirectory() as assets,
        quiet(),
    ):
        # Variables and files only: Keras layers would ask for Keras where it is loaded.
        module: Any = tf.Module()
        module.weights = network.variables
        module.files = []
        for name, text in (
            (CLASSES, encode_classes(model.description.classes)),
            (DESCRIPTION, encode_description(model.description)),
        ):
            asset = pathlib.Path(assets, name)
            asset.write_text(text, encoding="utf-8")
            module.files.append(tf.saved_model.Asset(asset))
        signature = tf.function(logits, autograph=False).get_concrete_function(**specs)
        tf.saved_model.save(module, str(folder), signature)
    return path
