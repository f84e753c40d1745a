"""Every command of the documentation is run, those of two pages in test_documented_rooms.py.

How each is made smaller, or checked where it can't be run, stands in documented_commands.py.
"""

import dataclasses
import re

import pytest
from documented_commands import (
    NO_COMMANDS,
    PYTHON,
    ROOT,
    SHELL,
    Book,
    Command,
    find_pages,
    read_blocks,
    read_books,
    split_commands,
)
from documented_data import opened

from mtml_tf import config, engines
from mtml_tf.classes import read_classes
from mtml_tf.semantic import config as semantic

_CONFIGS = ("Network", "Loss", "Data", "Train", "Segment")
# Flags of other programs (docker, pip, tensorboard), and those that every program of absl has.
OTHER_FLAGS = {"build-arg", "gpus", "rm", "user", "no-deps", "logdir", "nodes"}
# Options of Apache Beam.
OTHER_FLAGS |= {"runner", "parallelism", "flink_master", "environment_type"}
OTHER_FLAGS |= {"direct_running_mode", "direct_num_workers"}
OTHER_FLAGS |= {"flagfile", "helpfull", "verbosity"}

COMMANDS, _ = read_books()


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    with opened(COMMANDS, tmp_path_factory) as book:
        yield book


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=map(str, COMMANDS))
def test_every_command_of_the_first_book_works(book, number):
    book.check(number)


@pytest.mark.parametrize("page", find_pages())
def test_every_block_says_what_it_holds(page):
    for _, language, text in read_blocks(page):
        assert language in (None, SHELL, PYTHON, *NO_COMMANDS)
        if language in NO_COMMANDS:
            assert not re.search(r"^(\$|python3?|bash) ", text, re.MULTILINE)


@pytest.mark.parametrize("page", find_pages())
def test_every_flag_that_is_named_is_one_of_a_program(page):
    sources = [
        path for name in ("mtml_tf", "experiments", "tools") for path in ROOT.glob(f"{name}/*.py")
    ]
    flags = set(OTHER_FLAGS)
    for source in sources:
        flags |= set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source.read_text()))
    configs = [getattr(config, f"{name}Config") for name in _CONFIGS]
    configs += [getattr(semantic, f"Semantic{name}Config") for name in ("Network", "Data", "Train")]
    flags |= {field.name for each in configs for field in dataclasses.fields(each)}
    flags |= {field.name for field in dataclasses.fields(engines.Engine)}
    named = set(re.findall(r"(?<![\w-])--(\w[\w-]*)", (ROOT / page).read_text()))
    assert named - flags - {f"no{flag}" for flag in flags} == set()


def test_every_list_of_classes_can_be_read(tmp_path):
    blocks = [block for page in find_pages() for block in read_blocks(page)]
    lists = [text for _, language, text in blocks if language == "csv"]
    for number, text in enumerate(lists):
        path = tmp_path / f"{number}.csv"
        path.write_text(text + "\n")
        assert len(read_classes(path)) > 1
    assert lists


def test_blocks_are_split_into_commands():
    text = """
    # a comment
    python a.py --one \\
        --two   # another comment
    . b/activate && bash c.sh 'd # e'
    """
    assert split_commands(text) == ["python a.py --one --two", ". b/activate", "bash c.sh 'd # e'"]


@pytest.mark.parametrize("text", ["make all", "npm start", "ls"])
def test_a_command_that_nobody_said_how_to_check_fails(text, tmp_path):
    with pytest.raises(AssertionError, match="say in CHECKED how to check it"):
        Book([Command("README.md", 1, text)], tmp_path, None).check(0)


def test_a_command_that_fails_or_leaves_nothing_fails(book, tmp_path):
    shown = Command("README.md", 1, "python -m mtml_tf.predict --model=none --output_dir=x")
    with pytest.raises(AssertionError, match="expected either --data_dir or --scan"):
        Book([shown], tmp_path, book.server).check(0)
    shown = Command("README.md", 1, "python -c pass --output_dir=x")
    with pytest.raises(AssertionError, match="nothing at --output_dir=x"):
        Book([shown], tmp_path, book.server).check(0)
