"""Flags made of the settings in `config.py`: one flag a field, its help from the docstring."""

import dataclasses
import inspect
import re
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from absl import flags

from mtml_tf import files

Config = TypeVar("Config")

# Fields of SegmentConfig that come from the training scenes and are kept with the model.
FROM_DATA = ("thing_ids", "size_statistics", "probability_ids", "label_ids", "score_trees")

_DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
}


def define(
    config_class: type,
    leave_out: Collection[str] = (),
    as_default: bool = True,
    flag_values: flags.FlagValues = flags.FLAGS,
) -> None:
    """Defines a flag for each field that a command line can give.

    Args:
        config_class: a data class of `config.py` whose docstring describes its fields.
        leave_out: fields that get no flag.
        as_default: the field's default is the flag's; otherwise the flag is None until given.
        flag_values: where they are defined.
    """
    helps = _field_helps(config_class)
    for name, (kind, default) in _fields(config_class, leave_out).items():
        value = default if as_default else None
        if kind in _DEFINE:
            _DEFINE[kind](name, value, helps[name], flag_values=flag_values)
        else:
            text = None if value is None else [str(part) for part in value]
            flags.DEFINE_list(name, text, helps[name], flag_values=flag_values)


def read(
    config_class: type[Config],
    leave_out: Collection[str] = (),
    flag_values: flags.FlagValues = flags.FLAGS,
    **given: Any,
) -> Config:
    """Makes the configuration of the flags that `define` defined; `given` goes before them.

    Raises:
        flags.Error: a value that the configuration refuses.
    """
    try:
        return config_class(**{**read_given(config_class, leave_out, flag_values), **given})
    except (ValueError, TypeError) as error:
        raise flags.Error(files.shown(str(error))) from error


def read_given(
    config_class: type,
    leave_out: Collection[str] = (),
    flag_values: flags.FlagValues = flags.FLAGS,
) -> Mapping[str, Any]:
    """Returns the fields whose flags have a value."""
    values = {}
    for name, (kind, _) in _fields(config_class, leave_out).items():
        value = flag_values[name].value
        if value is None:
            continue
        if kind not in _DEFINE:
            (part_kind, *_) = typing.get_args(kind)
            try:
                value = tuple(part_kind(part) for part in value)
            except ValueError as error:
                raise flags.Error(f"--{name}: {files.shown(str(error))}") from error
        values[name] = value
    return values


def _fields(config_class: type, leave_out: Collection[str]) -> dict[str, tuple[Any, Any]]:
    """Returns (type, default) of the fields that get a flag."""
    kinds = typing.get_type_hints(config_class)
    fields = dataclasses.fields(config_class)
    return {f.name: (kinds[f.name], f.default) for f in fields if f.name not in leave_out}


def _field_helps(config_class: type) -> dict[str, str]:
    """Parses the `Attributes:` sections of a class and those that it extends: help by field."""
    helps: dict[str, str] = {}
    for one in reversed(config_class.__mro__):
        section = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")[2]
        for entry in re.split(r"\n(?=    \w)", "\n" + section.partition("\n\n")[0]):
            name, _, text = entry.strip().partition(":")
            helps[name] = " ".join(text.split())
    return helps
