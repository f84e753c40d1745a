"""The models that come with the package: run folders of their own, known by a name."""

import pathlib

from mtml_tf.inference.model_config import DESCRIPTION

SHIPPED = pathlib.Path(__file__).parent.parent / "shipped"


def shipped_models() -> tuple[str, ...]:
    """Returns the names of the models that come with the package."""
    return tuple(sorted(path.parent.name for path in SHIPPED.glob(f"*/{DESCRIPTION}")))


def find_shipped_model(name: str) -> pathlib.Path:
    """Returns the run folder of a model that comes with the package.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in shipped_models():
        raise ValueError(
            f"expected a model that comes with the package, one of {list(shipped_models())}, "
            f"found '{name}'"
        )
    return SHIPPED / name
