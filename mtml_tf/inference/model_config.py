"""What a model is apart from its weights, and as the text that is kept with them."""

import dataclasses
import json
import pathlib
import typing
from typing import Any, TypeVar

from mtml_tf import files
from mtml_tf.classes import ClassSet
from mtml_tf.config import NetworkConfig, SegmentConfig
from mtml_tf.segmentation.learned_score import Trees

Config = TypeVar("Config")

# Fields that are checked elsewhere.
_NO_NUMBERS = ("size_statistics", "score_trees")
_LARGEST = 1e18  # of the numbers; NaN and infinity are none
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
    fields = _checked("model", dict, files.parse_json(text))
    network, segment = (_checked(part, dict, fields[part]) for part in ("network", "segment"))
    classes = _checked("classes", dict, fields["classes"])
    statistics = _checked("size_statistics", dict, segment["size_statistics"])
    segment["size_statistics"] = {
        int(class_id): _checked("size_statistics", tuple[float, float], values)
        for class_id, values in statistics.items()
    }
    if segment.get("score_trees") is not None:
        Trees.from_dict(segment["score_trees"])
    voxel_size = _checked("voxel_size", float, fields["voxel_size"])
    if voxel_size <= 0:
        raise ValueError(f"expected a voxel_size above 0, found {voxel_size}")
    return ModelConfig(
        network=build_config(NetworkConfig, network),
        segment=build_config(SegmentConfig, segment),
        classes=build_config(ClassSet, classes),
        voxel_size=voxel_size,
        has_direction=_checked("has_direction", bool, fields["has_direction"]),
    )


def build_config(config_class: type[Config], fields: dict[str, Any]) -> Config:
    """Returns a data class of fields from JSON, each of the type that the class tells.

    Args:
        config_class: the class.
        fields: as JSON has them, but for those that are data classes themselves.

    Raises:
        ValueError, TypeError: others.
    """
    kinds = typing.get_type_hints(config_class)
    simple = {name: kind for name, kind in kinds.items() if name not in _NO_NUMBERS}
    checked = {
        name: _checked(name, simple[name], value) if name in simple else value
        for name, value in fields.items()
    }
    return config_class(**checked)


def _checked(name: str, kind: Any, value: Any) -> Any:
    """Returns a value from JSON as one of this type: a list as the tuple that it was."""
    parts = typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and type(value) is kind:
        return value
    if parts and isinstance(value, list):
        if parts[-1] is ... or len(parts) == len(value):
            return tuple(_checked(name, parts[0], item) for item in value)
    elif kind is float and type(value) in (int, float):
        if abs(value) < _LARGEST:
            return float(value) if isinstance(value, float) else value
    elif not parts and type(value) is kind and (kind is not int or abs(value) < _LARGEST):
        return value
    raise ValueError(f"expected another value of {name}, found {files.shown(value)}")


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
        return decode_model_config(files.read_text(path))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected a model's configuration, found: {files.shown(repr(error), 400)}"
        ) from error
