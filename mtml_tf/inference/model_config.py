"""What a model is apart from its weights, and as the text that is kept with them."""

import dataclasses
import json
import pathlib
from typing import Any

from mtml_tf import files
from mtml_tf.classes import ClassSet
from mtml_tf.config import NetworkConfig, SegmentConfig

DESCRIPTION = "model.json"  # in a run folder


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What a model is, apart from its weights.

    Attributes:
        network: the network's configuration.
        segment: the post-processing, with the size statistics of the training scenes.
        classes: the input classes, in the order of the channels.
        voxel_size: metres.
        has_direction: False where the direction was not trained ('FE only'): it isn't used.
    """

    network: NetworkConfig
    segment: SegmentConfig
    classes: ClassSet
    voxel_size: float
    has_direction: bool


def encode_model_config(config: ModelConfig) -> str:
    """Returns the JSON text that `decode_model_config` reads back."""
    return _encode(dataclasses.asdict(config))


def _encode(value: Any, depth: int = 0) -> str:
    """Returns JSON with a line for each field: a list, of trees thousands long, is one."""
    if not isinstance(value, dict):
        return json.dumps(value)
    lines = (
        f"{' ' * (depth + 1)}{json.dumps(str(name))}: {_encode(field, depth + 1)}"
        for name, field in value.items()
    )
    return "{\n" + ",\n".join(lines) + f"\n{' ' * depth}}}"


def decode_model_config(text: str) -> ModelConfig:
    """Returns the configuration of `encode_model_config`.

    Raises:
        ValueError, KeyError, TypeError: a text that it did not write.
    """
    fields = json.loads(text)
    network, segment_fields = fields["network"], fields["segment"]
    network["dilations"] = tuple(network["dilations"])
    segment_fields["thing_ids"] = tuple(segment_fields["thing_ids"])
    segment_fields["probability_ids"] = tuple(segment_fields.get("probability_ids", ()))
    segment_fields["label_ids"] = tuple(segment_fields.get("label_ids", ()))
    segment_fields["bandwidths"] = tuple(segment_fields["bandwidths"])
    segment_fields["size_statistics"] = {
        int(class_id): tuple(values)
        for class_id, values in segment_fields["size_statistics"].items()
    }
    classes = {name: tuple(values) for name, values in fields["classes"].items()}
    return ModelConfig(
        network=NetworkConfig(**network),
        segment=SegmentConfig(**segment_fields),
        classes=ClassSet(**classes),
        voxel_size=fields["voxel_size"],
        has_direction=fields["has_direction"],
    )


def write_model_config(run_dir: str | pathlib.Path, config: ModelConfig) -> None:
    """Writes `model.json` of a run folder."""
    files.write_text(
        pathlib.Path(run_dir) / DESCRIPTION, encode_model_config(config), overwrite=True
    )


def read_model_config(run_dir: str | pathlib.Path) -> ModelConfig:
    """Returns the configuration in a run folder. Raises ValueError where there is none."""
    path = pathlib.Path(run_dir) / DESCRIPTION
    if not path.is_file():
        raise ValueError(
            f"{run_dir}: expected a run folder with {DESCRIPTION}, found "
            f"{'none in it' if path.parent.is_dir() else 'no such folder'}; python -m "
            "mtml_tf.train makes one"
        )
    try:
        return decode_model_config(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a model's configuration, found: {error!r}") from error
