"""docs/flags.md tells what the programs tell, and where the paper has every setting."""

import dataclasses

import pytest

from experiments import flag_page
from mtml_tf import config_flags
from mtml_tf.config import NetworkConfig, SegmentConfig


@pytest.fixture(scope="module")
def page():
    return flag_page.make_page()


def test_the_page_is_that_of_the_programs_as_they_are(page):
    written = (flag_page.ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
    again = "python -m experiments.flag_page --output_md=docs/flags.md --overwrite"
    assert written == page, f"the page is out of date: {again}"


def test_every_program_is_on_the_page(page):
    commands = flag_page.programs()
    for command in ("-m mtml_tf.train", "tools/view.py", "-m experiments.table2"):
        assert command in commands
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        f"## python {command}" for command in commands
    ]


def test_the_paper_is_named_for_every_setting_that_has_a_flag():
    from_data = {NetworkConfig: {"input_channels"}, SegmentConfig: set(config_flags.FROM_DATA)}
    for kind, papers in flag_page.PAPER.items():
        fields = {field.name for field in dataclasses.fields(kind)}
        assert set(papers) == fields - from_data.get(kind, set())


def test_flags_have_default_meaning_and_paper(page):
    assert "| `--learning_rate` | `0.0005` | of Adam. | 4, Setup |" in page
    assert "| `--up_axis` | `z` | The axis of the scan that points up. One of " in page
    assert " Which weights; the best ones there by default. One of best, last. |" in page
    assert " Folder of ground truth, \\<scene>.txt each. |" in page


def test_a_program_without_settings_has_one_table():
    flags = [flag_page.Flag("min_vertices", "100", "a <b>"), flag_page.Flag("run_dir", "", "c")]
    text = flag_page.encode_page({"tools/x.py": flags})
    assert text.endswith(
        "## python tools/x.py\n\n"
        "| flag | default | meaning |\n| --- | --- | --- |\n"
        "| `--min_vertices` | `100` | a \\<b> |\n| `--run_dir` |  | c |\n"
    )
