"""Table 3 of the paper: AP50 on ScanNet's test scenes. `python -m experiments.table3`

With --result_csv=F, a file as `python -m mtml_tf.evaluate --output_csv=F` (or the official program)
writes it, the result stands among the paper's methods, sorted by the average.
"""

import csv
import io
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from absl import flags

from experiments.paper_numbers import (
    AVERAGE,
    TABLE_3,
    TABLE_3_CLASSES,
    TABLE_3_DOUBTFUL,
    TABLE_3_RESTORED,
)
from experiments.running import encode_markdown, write_table
from mtml_tf import program

FLAGS = flags.FLAGS

HEADER = ["class", "class id", "ap", "ap50", "ap25"]
NOTES = (
    "A star: restored from a damaged print. A question mark: the printed classes do not add up to "
    "the printed average. A dash: no ground truth of the class."
)


def read_result(path: str | pathlib.Path) -> dict[str, float]:
    """Reads the AP50 of each of ScanNet's 18 classes.

    Args:
        path: CSV file with the header `class,class id,ap,ap50,ap25` and a row for each class.

    Returns:
        AP50 in [0, 1] by class; NaN where there was no ground truth.

    Raises:
        ValueError: a file that can't be read, another header, classes that are missing, twice or
            others than the 18, or an AP50 that is neither in [0, 1] nor NaN.
    """
    path = pathlib.Path(path)
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ValueError(f"{path}: expected a CSV file of scores, found {reason}") from error
    header = rows[0] if rows else []
    if header != HEADER:
        raise ValueError(
            f"{path}: expected the header '{','.join(HEADER)}', found '{','.join(header)}'"
        )
    result: dict[str, float] = {}
    for row in filter(None, rows[1:]):
        name = row[0]
        if len(row) != len(HEADER) or name not in TABLE_3_CLASSES or name in result:
            raise ValueError(
                f"{path}: expected a row of {len(HEADER)} fields for each of ScanNet's classes "
                f"once, found '{','.join(row)}'"
            )
        result[name] = _score(path, row)
    missing = [name for name in TABLE_3_CLASSES if name not in result]
    if missing:
        raise ValueError(
            f"{path}: expected all {len(TABLE_3_CLASSES)} classes of ScanNet, found no row for "
            f"'{missing[0]}'"
        )
    if all(math.isnan(value) for value in result.values()):
        raise ValueError(f"{path}: expected the AP50 of at least one class, found NaN in all rows")
    return result


def _score(path: pathlib.Path, row: Sequence[str]) -> float:
    """Returns the AP50 of a row."""
    text = row[HEADER.index("ap50")]
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not (0 <= value <= 1 or math.isnan(value)):
        raise ValueError(
            f"{path}: expected an AP50 from 0 to 1 for class '{row[0]}', found '{text}'"
        )
    return value


def table_rows(results: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Returns the header and a row a method, the best average first.

    Averages of the paper's methods are as printed; those of results are means over the classes
    that have ground truth. Of equal averages the paper's comes first.

    Args:
        results: AP50 by class, by name; stand among the paper's methods.
    """
    rows: list[tuple[float, list[str]]] = []
    for method, (average, values) in TABLE_3.items():
        doubt = "?" if method in TABLE_3_DOUBTFUL else ""
        cells = [method, f"{average:.3f}{_star(method, AVERAGE)}{doubt}"]
        cells += [
            f"{value:.2f}{_star(method, name)}"
            for name, value in zip(TABLE_3_CLASSES, values, strict=True)
        ]
        rows.append((average, cells))
    for method, result in results.items():
        average = float(np.nanmean(list(result.values())))
        values = tuple(result[name] for name in TABLE_3_CLASSES)
        cells = ["-" if math.isnan(value) else f"{value:.2f}" for value in values]
        rows.append((average, [method, f"{average:.3f}", *cells]))
    rows.sort(key=lambda row: -row[0])
    return [["method", "average AP50", *TABLE_3_CLASSES], *(cells for _, cells in rows)]


def _star(method: str, column: str) -> str:
    return "*" if (method, column) in TABLE_3_RESTORED else ""


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("result_csv", "", "Scores to insert; none where empty.")
    flags.DEFINE_string("name", "Ours", "What to call the row of --result_csv.")
    flags.DEFINE_string("output_dir", "runs/table3", "For table3.md and table3.csv.")


def main() -> None:
    """Reads the flags, prints and writes the table."""
    if FLAGS.name in TABLE_3:
        raise flags.Error(f"expected a --name that the paper's table has not, found '{FLAGS.name}'")
    results = {FLAGS.name: read_result(FLAGS.result_csv)} if FLAGS.result_csv else {}
    rows = table_rows(results)
    text = f"AP50 on ScanNet's test scenes, as the paper prints it\n\n{encode_markdown(rows)}\n"
    text += f"\n{NOTES}\n"
    print(text)
    write_table(pathlib.Path(FLAGS.output_dir), "table3", text, rows)


if __name__ == "__main__":
    define_flags()
    program.run(main)
