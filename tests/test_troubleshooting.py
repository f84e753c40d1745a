"""What docs/troubleshooting.md quotes is what the programs print: each sentence is in the code."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "troubleshooting.md"
# Sentences of other programs: pip, the shell script, TensorFlow.
FOREIGN = (
    "setup: expected Python 3.10 to 3.13",
    "ERROR: No matching distribution found",
    "Could not find cuda drivers",
)
# Texts of fewer letters than this fit too much: "{path}: {error}".
_LEAST_LETTERS = 20
# A sentence may go on with another, or begin with a file's name.
_LEAST_SHARE = 0.6


def quoted(text):
    """Returns the lines of the blocks marked `text`, without `error: `."""
    blocks = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    return [line.removeprefix("error: ") for block in blocks for line in block.splitlines()]


def patterns_of(source):
    """Returns a regular expression for each text of a module that has enough letters of its own."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # What is logged has its values as %s.
            parts = re.split(r"(%(?:s|d|g|\.\d[fg]))", node.value)
            parts = [None if part.startswith("%") else part for part in parts]
        else:
            continue
        if sum(len(part) for part in parts if part) >= _LEAST_LETTERS:
            found.append("".join(".*" if part is None else re.escape(part) for part in parts))
    return found


PATTERNS = [
    re.compile(pattern)
    for path in sorted((ROOT / "mtml_tf").rglob("*.py"))
    for pattern in patterns_of(path.read_text(encoding="utf-8"))
]


def is_printed(sentence, patterns=PATTERNS):
    matches = filter(None, (pattern.search(sentence) for pattern in patterns))
    return max((len(m.group()) for m in matches), default=0) >= _LEAST_SHARE * len(sentence)


SENTENCES = [s for s in quoted(PAGE.read_text(encoding="utf-8")) if not s.startswith(FOREIGN)]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_quoted_sentence_is_one_that_the_programs_print(sentence):
    assert is_printed(sentence)


def test_there_are_sentences_to_check():
    assert len(SENTENCES) > 30


def test_each_foreign_sentence_is_on_the_page():
    lines = quoted(PAGE.read_text(encoding="utf-8"))
    for start in FOREIGN:
        assert any(line.startswith(start) for line in lines), start


def test_a_sentence_that_no_program_prints_is_found():
    assert not is_printed("F.txt: expected 5000 class ids, one for every voxel, found 4999")
    assert not is_printed("scan.ply: expected a class for every vertex, found none")


def test_the_setup_script_says_what_is_quoted():
    script = (ROOT / "tools" / "setup_venv.sh").read_text(encoding="utf-8")
    assert "expected Python 3.10 to 3.13 with its venv module, found none in" in script
    assert "the search path" in script
