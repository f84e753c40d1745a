"""docs/flags.md tells what the programs tell, and where the paper has every setting."""

import dataclasses

import pytest

from experiments import flag_page
from mtml_tf import config_flags
from mtml_tf.config import DataConfig, NetworkConfig, SegmentConfig


@pytest.fixture(scope="module")
def page():
    return flag_page.make_page()


def section(page, command):
    return page.partition(f"## python {command}\n")[2].partition("\n## ")[0]


def test_the_page_is_that_of_the_programs_as_they_are(page):
    written = (flag_page.ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
    again = "python -m experiments.flag_page --output_md=docs/flags.md --overwrite"
    assert written == page, f"the page is out of date: {again}"


def test_every_program_is_on_the_page(page):
    commands = [one.command for one in flag_page.find_programs()]
    for command in ("-m mtml_tf.train", "tools/view.py", "-m experiments.table2"):
        assert command in commands
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        f"## python {command}" for command in commands
    ]


def test_the_paper_is_named_for_every_setting_that_has_a_flag():
    of_network = {"input_channels", "num_labels"}
    from_data = {NetworkConfig: of_network, SegmentConfig: set(config_flags.FROM_DATA)}
    for kind, papers in flag_page.PAPER.items():
        fields = {field.name for field in dataclasses.fields(kind)}
        assert set(papers) == fields - from_data.get(kind, set())


def test_flags_have_default_meaning_and_paper(page):
    train = section(page, "-m mtml_tf.train")
    assert "| `--learning_rate` | `0.0005` | of Adam. | 4, Setup |" in train
    assert "| `--bandwidths` | `0.6,1.0,1.5` | of the mean shift" in train
    predict = section(page, "-m mtml_tf.predict")
    assert "| `--bandwidths` |  | of the mean shift" in predict
    assert "| `--up_axis` | `z` | The axis of the scan that points up. One of " in predict
    assert "the best where there are any, else the last. One of best, last. |" in predict
    assert " Folder of ground truth, \\<scene>.txt each. |" in page


def test_only_programs_that_have_a_model_take_settings_from_it(page):
    said = "A setting that is not given is the model's."
    assert said in section(page, "-m mtml_tf.predict")
    assert said in section(page, "-m experiments.real_rooms")
    assert page.count(said) == 2


def test_a_program_that_has_some_settings_shows_those(page):
    own, title, settings = section(page, "tools/view.py").partition("**Data**")
    assert title
    assert "`--width` | `700`" in own
    names = [line.split("`")[1] for line in settings.splitlines() if line.startswith("| `")]
    fields = [field.name for field in dataclasses.fields(DataConfig)]
    assert names == [f"--{name}" for name in fields if name != "batch_size"]


def test_the_page_is_the_same_on_every_machine(page):
    assert str(flag_page.ROOT) not in page


def test_summary_and_required_flags_come_from_the_source():
    source = '"""Makes x. `python -m x`\n\nMore.\n"""\nprogram.run(main, required=["a", "b"])\n'
    (one,) = flag_page.parse_program("-m x", source)
    assert one == flag_page.Program("-m x", "Makes x.", frozenset(("a", "b")))
    source = '"""Makes y: `python y.py --a=1`."""\nprogram.run(main)\n'
    assert flag_page.parse_program("y.py", source) == [
        flag_page.Program("y.py", "Makes y.", frozenset())
    ]
    (one,) = flag_page.parse_program("y.py", '"""Makes y, quickly."""\nprogram.run(main)\n')
    assert one.summary == "Makes y, quickly."
    assert flag_page.parse_program("z.py", '"""Names `program.run(main)`."""\n') == []


def test_a_program_without_settings_has_one_table():
    one = flag_page.Program("tools/x.py", "Makes x.", frozenset(("run_dir",)))
    flags = [flag_page.Flag("min_vertices", "100", "a <b> | c"), flag_page.Flag("run_dir", "", "d")]
    text = flag_page.encode_page({one: flags})
    assert text.endswith(
        "## python tools/x.py\n\nMakes x.\n\n"
        "| flag | default | meaning |\n| --- | --- | --- |\n"
        "| `--min_vertices` | `100` | a \\<b> \\| c |\n| `--run_dir` | required | d |\n"
    )
