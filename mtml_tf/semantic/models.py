"""A trained semantic network with all that is needed to use it, kept in a run folder.

semantic.json   what it is, and which scenes it has seen
last/           its weights
"""

import dataclasses
import json
import pathlib
from typing import Any

from mtml_tf import files
from mtml_tf.backend import keras
from mtml_tf.classes import ClassSet
from mtml_tf.inference import models, shipped
from mtml_tf.inference.model_config import build_config
from mtml_tf.semantic.config import SemanticNetworkConfig
from mtml_tf.semantic.network import build_semantic_network

DESCRIPTION = "semantic.json"
_FOLD = "fold_{number}_of_{count}"


@dataclasses.dataclass(frozen=True)
class SemanticDescription:
    """What a semantic model is, apart from its weights.

    Attributes:
        network: the network's configuration.
        classes: what it tells, in the order of its outputs.
        fold: number of the fold that it never saw, from 1; 0 where there are none.
        unseen: names of the training scenes of that fold.

    Raises:
        ValueError: a network that tells another number of classes.
    """

    network: SemanticNetworkConfig
    classes: ClassSet
    fold: int = 0
    unseen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.network.num_classes != len(self.classes):
            raise ValueError(
                f"expected a network of {len(self.classes)} classes, found one of "
                f"{self.network.num_classes}"
            )


@dataclasses.dataclass(frozen=True)
class SemanticModel:
    """A model ready for use.

    Attributes:
        description: what it is.
        network: takes and gives what `semantic.network` says, with the weights.
    """

    description: SemanticDescription
    network: keras.Model


def fold_dir(run_dir: str | pathlib.Path, number: int, count: int) -> pathlib.Path:
    """Returns the run folder of a fold, 1 to `count`, within that of all."""
    return pathlib.Path(run_dir, _FOLD.format(number=number, count=count))


def find_run_folders(path: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders of the networks of a run: itself, or those of its folds.

    Args:
        path: a run folder, or the name of a semantic model that comes with the package.

    Raises:
        ValueError: no such model.
    """
    run_dir = pathlib.Path(path)
    if not run_dir.exists() and str(path) in shipped_models():
        return [shipped.SHIPPED / str(path)]
    if (run_dir / DESCRIPTION).is_file():
        return [run_dir]
    folds = sorted(found.parent for found in run_dir.glob(f"fold_*_of_*/{DESCRIPTION}"))
    if folds:
        return _checked_folds(run_dir, folds)
    named = ", ".join(shipped_models())
    raise ValueError(
        f"{run_dir}: expected a run folder with {DESCRIPTION}, or a semantic model that comes with "
        f"the package ({named or 'there are none'}), found "
        f"{'none in it' if run_dir.is_dir() else 'no such folder'}; mtml_tf.train_semantic makes "
        "run folders"
    )


def _checked_folds(run_dir: pathlib.Path, folds: list[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the folders where they are all folds of one number.

    Raises:
        ValueError: one is missing: its scenes would be predicted by networks that saw them.
    """
    count = folds[0].name.rpartition("_")[2]
    wanted = {
        fold_dir(run_dir, n + 1, int(count)) for n in range(int(count) if count.isdecimal() else 0)
    }
    if set(folds) != wanted:
        raise ValueError(
            f"{run_dir}: expected the networks of all folds of one number, found "
            f"{', '.join(folder.name for folder in folds)}; start mtml_tf.train_semantic again, "
            "which goes on, or move those of another number away"
        )
    return sorted(wanted, key=lambda folder: int(folder.name.split("_")[1]))


def shipped_models() -> tuple[str, ...]:
    """Returns the names of the semantic models that come with the package."""
    return tuple(sorted(path.parent.name for path in shipped.SHIPPED.glob(f"*/{DESCRIPTION}")))


def find_weights(run_dir: str | pathlib.Path) -> pathlib.Path:
    """Returns the path of a run's weights, or newest checkpoint, without what follows its name.

    Raises:
        ValueError: there are none yet.
    """
    return pathlib.Path(models.find_weights(pathlib.Path(run_dir), models.LAST))


def load_semantic_model(run_dir: str | pathlib.Path) -> SemanticModel:
    """Loads a trained model.

    Args:
        run_dir: one of `find_run_folders`.

    Raises:
        ValueError: no run folder, or no weights in it.
    """
    folder = pathlib.Path(run_dir)
    description = read_description(folder)
    network = build_semantic_network(description.network)
    models.read_weights_into(network, str(find_weights(folder)), DESCRIPTION, "train again")
    return SemanticModel(description, network)


def write_description(run_dir: str | pathlib.Path, description: SemanticDescription) -> None:
    """Writes `semantic.json` of a run folder."""
    text = encode_description(description)
    files.write_text(pathlib.Path(run_dir) / DESCRIPTION, text, overwrite=True)


def encode_description(description: SemanticDescription) -> str:
    """Returns the content of `semantic.json`."""
    return json.dumps(dataclasses.asdict(description), indent=1) + "\n"


def read_description(run_dir: str | pathlib.Path) -> SemanticDescription:
    """Returns what a run folder's model is. Raises ValueError where it can't be read."""
    path = pathlib.Path(run_dir) / DESCRIPTION
    try:
        fields: dict[str, Any] = files.read_json(path)
        return build_config(
            SemanticDescription,
            {
                **fields,
                "network": build_config(SemanticNetworkConfig, fields["network"]),
                "classes": build_config(ClassSet, fields["classes"]),
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected the description of a semantic network, found: "
            f"{files.shown(repr(error), 400)}"
        ) from error
