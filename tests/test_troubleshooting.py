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
# What the system says, within a sentence.
_SYSTEM = ("cannot open shared object file: No such file or directory",)
# Texts of fewer letters than this fit too much: "{path}: {error}".
_LEAST_LETTERS = 10
# Words in a row that no value has: a name, a path, a number, `1 table, 2 object`, `best or last`.
_WORDS = re.compile(r"\b[a-z]+ (?!or )[a-z]+ [a-z]+\b")
_VALUE_OF_LOG = re.compile(r"(%(?:s|d|g|\.\d[fg]))")
_FITTED = "\N{SECTION SIGN}"


def quoted(text):
    """Returns the lines of the blocks marked `text`, without `error: `."""
    blocks = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    return [line.removeprefix("error: ") for block in blocks for line in block.splitlines()]


def texts_of(source):
    """Yields the texts of a module, each as its parts; None stands for a value."""
    nodes = list(ast.walk(ast.parse(source)))
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    for node in joined:
        yield tuple(part.value if isinstance(part, ast.Constant) else None for part in node.values)
    within = {id(part) for node in joined for part in node.values}
    for node in nodes:
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in within
        ):
            parts = _VALUE_OF_LOG.split(node.value)
            yield tuple(
                None if _VALUE_OF_LOG.fullmatch(part) else part.replace("%%", "%") for part in parts
            )


def patterns_of(sources):
    """Returns regular expressions of the texts with enough letters, most letters first."""
    found = {}
    for parts in {parts for source in sources for parts in texts_of(source)}:
        letters = sum(character.isalpha() for part in parts if part for character in part)
        # A constant of few words is as good as a value.
        if letters >= _LEAST_LETTERS and (None in parts or _WORDS.search(*parts)):
            found["".join("(.*?)" if part is None else re.escape(part) for part in parts)] = letters
    return [re.compile(pattern) for pattern in sorted(found, key=lambda p: (-found[p], p))]


PATTERNS = patterns_of(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "mtml_tf").rglob("*.py"))
)


def is_printed(sentence, patterns=PATTERNS):
    """Whether a sentence is made of whole texts, with values that are no sentences themselves."""
    for text in _SYSTEM:
        sentence = sentence.replace(text, _FITTED)
    before = None
    while sentence != before:  # a value may be made of another text
        before = sentence
        for pattern in patterns:
            sentence = pattern.sub(_fit, sentence)
    return not _WORDS.search(sentence)


def _fit(match):
    return match.group() if any(map(_WORDS.search, match.groups())) else _FITTED


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


@pytest.mark.parametrize(
    "sentence",
    [
        "F.txt: expected 5000 class ids, one for every vertex, found 4999",
        "scan.ply: expected a class for every vertex, found none",
        "scan.ply: vertex property 'label': expected class ids among [1] (or 0), found [2]; the "
        "model knows 1 table: map other ids to these, or to 0 for unlabelled, by "
        "--label_map=their_id:our_id,...",
        "scan.ply: expected ids from 0 to 9 in the vertex property 'label', found -1; map it to 0 "
        "if it means unlabelled",
        "scene a: expected metres, found a scan of 5 x 7 x 2 which makes 9 voxels of 0.1 m; if "
        "these are millimetres, give --scale=0.001, otherwise remove points that lie far from the "
        "rest",
    ],
)
def test_a_sentence_that_no_program_prints_is_found(sentence):
    assert not is_printed(sentence)


def test_the_setup_script_says_what_is_quoted():
    script = (ROOT / "tools" / "setup_venv.sh").read_text(encoding="utf-8")
    assert "expected Python 3.10 to 3.13 with its venv module, found none in" in script
    assert "the search path" in script
