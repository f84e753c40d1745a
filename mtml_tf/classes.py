"""Class sets: which ids a scan may carry, what they are called, which of them have instances."""

import csv
import dataclasses
import functools
import io
import pathlib

import numpy as np

from mtml_tf import files

THING = "thing"
STUFF = "stuff"

# Keeps the table of channels small and `class_id * 1000 + instance` within int32.
_LARGEST_ID = 1_000_000
_MOST_DIGITS = 40

_SCANNET_STUFF = {1: "wall", 2: "floor"}
# In the order of the official evaluation; the spelling is the benchmark's.
_SCANNET_THINGS = {
    3: "cabinet",
    4: "bed",
    5: "chair",
    6: "sofa",
    7: "table",
    8: "door",
    9: "window",
    10: "bookshelf",
    11: "picture",
    12: "counter",
    14: "desk",
    16: "curtain",
    24: "refrigerator",
    28: "shower curtain",
    33: "toilet",
    34: "sink",
    36: "bathtub",
    39: "otherfurniture",
}


@dataclasses.dataclass(frozen=True)
class ClassSet:
    """Classes of a data set, in the order of the network's input channels.

    Attributes:
        ids: class ids, each from 1 to 1,000,000, no id twice. 0 means unlabelled and is not listed.
        names: a name for each id.
        kinds: `thing` (has instances, is scored) or `stuff` (wall, floor, table: input only).

    Raises:
        ValueError: an id out of range or given twice, a kind that is neither thing nor stuff, or no
            class at all.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    kinds: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.ids or not len(self.ids) == len(self.names) == len(self.kinds):
            raise ValueError(
                f"expected one name and one kind for each of at least one class id, found "
                f"{len(self.ids)} ids, {len(self.names)} names, {len(self.kinds)} kinds"
            )
        if min(self.ids) < 1 or max(self.ids) > _LARGEST_ID or len(set(self.ids)) < len(self.ids):
            raise ValueError(
                f"expected distinct class ids from 1 to {_LARGEST_ID}, found "
                f"{files.shown(list(self.ids))}"
            )
        wrong = sorted(set(self.kinds) - {THING, STUFF})
        if wrong:
            raise ValueError(
                f"expected the kinds '{THING}' and '{STUFF}', found '{files.shown(wrong[0])}'"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def thing_ids(self) -> tuple[int, ...]:
        """Ids of the classes that have instances."""
        return tuple(i for i, kind in zip(self.ids, self.kinds, strict=True) if kind == THING)

    def name_of(self, class_id: int) -> str:
        """Returns the name of a class id. Raises ValueError for an id that is not listed."""
        if class_id not in self.ids:
            raise ValueError(f"expected one of the class ids {list(self.ids)}, found {class_id}")
        return self.names[self.ids.index(class_id)]

    @functools.cached_property
    def channel_table(self) -> np.ndarray:
        """int32 [largest id + 1], the input channel of each id; -1 for ids that are not listed."""
        table = np.full(max(self.ids) + 1, -1, np.int32)
        table[list(self.ids)] = np.arange(len(self.ids), dtype=np.int32)
        return table

    def channels_of(self, semantic_ids: np.ndarray) -> np.ndarray:
        """Returns int32 [M], the input channel of each id; -1 for 0 (unlabelled).

        Raises:
            ValueError: an id that is neither 0 nor listed.
        """
        ids = np.asarray(semantic_ids)
        unknown = np.setdiff1d(ids, (0, *self.ids))
        if unknown.size:
            raise ValueError(
                f"expected class ids among {list(self.ids)} (or 0), found {unknown[:5].tolist()}"
            )
        return self.channel_table[ids]

    def is_thing(self, semantic_ids: np.ndarray) -> np.ndarray:
        """Returns bool [M], True where the id is of a class that has instances."""
        return np.isin(semantic_ids, self.thing_ids)


SCANNET20 = ClassSet(
    ids=(*_SCANNET_STUFF, *_SCANNET_THINGS),
    names=(*_SCANNET_STUFF.values(), *_SCANNET_THINGS.values()),
    kinds=(STUFF,) * len(_SCANNET_STUFF) + (THING,) * len(_SCANNET_THINGS),
)
SCANNET18 = ClassSet(
    ids=tuple(_SCANNET_THINGS),
    names=tuple(_SCANNET_THINGS.values()),
    kinds=(THING,) * len(_SCANNET_THINGS),
)
_BUILT_IN = {"scannet20": SCANNET20, "scannet18": SCANNET18}
_HEADER = ["id", "name", "kind"]


def read_classes(name_or_path: str | pathlib.Path) -> ClassSet:
    """Returns a built-in class set (`scannet20`, `scannet18`) or the one in a `classes.csv`.

    Raises:
        ValueError: no such name or file, or a row that is not `id,name,kind`.
    """
    if str(name_or_path) in _BUILT_IN:
        return _BUILT_IN[str(name_or_path)]
    path = pathlib.Path(name_or_path)
    if not path.is_file():
        raise ValueError(
            f"{path}: expected a classes.csv file or one of {sorted(_BUILT_IN)}, found no such file"
        )
    try:
        # A byte order mark, which spreadsheets write, is not part of the header.
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        numbered = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{path}: expected text in UTF-8, 'id,name,kind', found {error}"
        ) from error
    header = numbered[0][1] if numbered else []
    if [field.strip() for field in header] != _HEADER:
        found = files.shown(",".join(header))
        raise ValueError(f"{path}: expected the header 'id,name,kind', found '{found}'")
    rows = []
    for number, row in numbered[1:]:
        # An id of more digits than the largest one is wrong as well, and may be too long a number.
        if len(row) != len(_HEADER) or not row[0].strip().isdecimal() or len(row[0]) > _MOST_DIGITS:
            found = files.shown(",".join(row))
            raise ValueError(f"{path}: expected 'id,name,kind' in line {number}, found '{found}'")
        rows.append(row)
    try:
        return ClassSet(
            ids=tuple(int(row[0]) for row in rows),
            names=tuple(row[1].strip() for row in rows),
            kinds=tuple(row[2].strip() for row in rows),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def encode_classes(classes: ClassSet) -> str:
    """Returns the text of a `classes.csv` that `read_classes` reads back."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows(zip(classes.ids, classes.names, classes.kinds, strict=True))
    return text.getvalue()
