import csv
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from experiments import table3
from experiments.paper_numbers import TABLE_3, TABLE_3_CLASSES
from mtml_tf.classes import SCANNET18
from mtml_tf.scoring.average_precision import ApTable

ROOT = pathlib.Path(__file__).resolve().parent.parent


def write(path, ap50=0.5, **changed):
    """Writes a result as evaluate does; `changed` are AP50 of single classes."""
    values = np.array([changed.get(name.replace(" ", "_"), ap50) for name in SCANNET18.names])
    table = ApTable(SCANNET18.ids, SCANNET18.names, values / 2, values, values)
    path.write_text(table.encode_csv(), encoding="utf-8")
    return path


def test_the_papers_table_is_printed_as_it_is():
    rows = table3.table_rows({})
    assert rows[0] == ["method", "average AP50", *TABLE_3_CLASSES]
    assert [row[0] for row in rows[1:]] == list(TABLE_3)
    assert rows[1][:3] == ["MTML (paper)", "0.549*", "1.00"]
    assert rows[1][2 + TABLE_3_CLASSES.index("shower curtain")] == "1.00*"
    assert rows[2][:2] == ["Occipital-SCS", "0.512?"]
    assert {len(row) for row in rows} == {20}


@pytest.mark.parametrize(("ap50", "place"), [(0.9, 1), (0.5, 3), (0.0, 14)])
def test_a_result_is_inserted_by_its_average(tmp_path, ap50, place):
    rows = table3.table_rows({"Ours": table3.read_result(write(tmp_path / "a.csv", ap50))})
    assert len(rows) == 15
    assert rows[place] == ["Ours", f"{ap50:.3f}", *[f"{ap50:.2f}"] * 18]


def test_classes_are_found_by_name_not_by_place(tmp_path):
    result = table3.read_result(write(tmp_path / "a.csv", 0.0, shower_curtain=1.0, cabinet=0.25))
    assert {name for name, value in result.items() if value} == {"shower curtain", "cabinet"}
    (row,) = (row for row in table3.table_rows({"Ours": result}) if row[0] == "Ours")
    assert row[2 + TABLE_3_CLASSES.index("cabinet")] == "0.25"
    assert row[1] == f"{1.25 / 18:.3f}"


def test_classes_without_ground_truth_are_left_out_of_the_average(tmp_path):
    result = table3.read_result(write(tmp_path / "a.csv", 0.5, sink=math.nan))
    (row,) = (row for row in table3.table_rows({"Ours": result}) if row[0] == "Ours")
    assert row[1] == "0.500"
    assert row[2 + TABLE_3_CLASSES.index("sink")] == "-"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class,class id,ap", "class,id,ap", "expected the header 'class,class id,ap,ap50,ap25'"),
        ("sink,34,", "sinkhole,34,", "for each of ScanNet's classes once, found 'sinkhole,34,"),
        ("sink,34,", "sofa,6,", "for each of ScanNet's classes once, found 'sofa,6,"),
        ("sink,34,0.25,0.5,0.5\n", "", "found no row for 'sink'"),
        ("sink,34,0.25,0.5,", "sink,34,0.25,50,", "AP50 from 0 to 1 for class 'sink', found '50'"),
        ("sink,34,0.25,0.5,", "sink,34,0.25,x,", "AP50 from 0 to 1 for class 'sink', found 'x'"),
        ("sink,34,0.25,0.5,0.5", "sink,34,0.25", "row of 5 fields"),
    ],
)
def test_a_file_that_is_no_result_is_told_by_name(tmp_path, old, new, message):
    path = write(tmp_path / "a.csv")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as raised:
        table3.read_result(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_missing_file_and_one_without_scores_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"b.csv: expected a CSV file of scores, found no such"):
        table3.read_result(tmp_path / "b.csv")
    with pytest.raises(ValueError, match="expected the AP50 of at least one class"):
        table3.read_result(write(tmp_path / "a.csv", math.nan))


def run(*arguments):
    command = [sys.executable, "-m", "experiments.table3", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_program_prints_and_writes_the_table(tmp_path):
    result = write(tmp_path / "a.csv", 0.9)
    done = run(f"--result_csv={result}", "--name=Mine", f"--output_dir={tmp_path / 'table'}")
    assert done.returncode == 0, done.stderr
    assert "| Mine | 0.900 | 0.90 |" in done.stdout
    assert (tmp_path / "table" / "table3.md").read_text() == done.stdout.removesuffix("\n")
    with open(tmp_path / "table" / "table3.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert (len(rows), rows[1][:2]) == (15, ["Mine", "0.900"])


def test_a_name_of_the_papers_table_is_wrong_usage(tmp_path):
    done = run("--name=SGPN", f"--output_dir={tmp_path / 'table'}")
    assert done.returncode == 2
    assert "expected a --name that the paper's table has not, found 'SGPN'" in done.stderr
    assert not (tmp_path / "table").exists()
