"""The commands that the documentation shows, and how the tests run them.

Every command is run as shown, in a folder that looks like the repository's root, with the flags of
`SMALLER` added where it would take long or where it has a name to fill in. What can't be run in a
test is in `CHECKED`, with the reason and what is looked at instead.
"""

import configparser
import contextlib
import dataclasses
import itertools
import json
import pathlib
import re
import shlex
import subprocess

from coarse_rooms import coarse_settings

from mtml_tf import parallel
from mtml_tf.backend import tf
from mtml_tf.rooms import making

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Two books, so that two processes share the work. Each is run through in this order in a folder of
# its own; pages that are in neither come at the end of the first.
FIRST_PAGES = (
    "README.md",
    "docs/README.md",
    "docs/own_data.md",
    "docs/scale.md",
    "docs/scannet.md",
)
SECOND_BOOK = (
    "docs/rooms.md",
    "docs/results.md",
    "docs/semantic.md",
    "docs/speed.md",
    "docs/method.md",
    "mtml_tf/shipped/README.md",
)
SHELL, PYTHON = "bash", "python"
# What other blocks hold: files, formulas, output.
NO_COMMANDS = {"csv", "json", "text", "bibtex"}
_SETTING = r"[A-Z_]+=\S+ "
_PROGRAM = r"\. |python3? |\S*/bin/python |bash |\S*pip install |docker |curl |tensorboard |apt"


# --- What the pages show -----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Command:
    """A command as a page shows it.

    Attributes:
        page: path of the page, relative to the root.
        line: where its block begins; of one within a text, where it stands.
        text: the command; of a Python block, all of it.
        language: SHELL or PYTHON.
    """

    page: str
    line: int
    text: str
    language: str = SHELL

    def __str__(self):
        return f"{self.page}:{self.line} {self.text.splitlines()[0]}"


def read_blocks(page):
    """Yields (line, language, text) of the blocks of a page; its text between them has none."""
    language, start, lines = None, 1, []
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"\s*```(\S*)", line)
        if not fence:
            lines.append(line)
            continue
        yield start, language, "\n".join(lines)
        language = fence.group(1) if language is None else None
        start, lines = number + 1, []
    assert language is None, f"{page}: a block without end"
    yield start, language, "\n".join(lines)


def split_commands(text):
    """Returns the commands of a shell block, without comments, continued lines joined."""
    lines = map(_without_comment, text.replace("\\\n", " ").splitlines())
    commands = [command for line in lines for command in line.split(" && ")]
    return [" ".join(command.split()) for command in commands if command.strip()]


def _without_comment(line):
    for sign in re.finditer(r"(^|\s)#", line):
        with contextlib.suppress(ValueError):  # within quotes
            shlex.split(line[: sign.start()])
            return line[: sign.start()]
    return line


def find_pages():
    """Returns the paths, relative to the root, of all pages in the order of their books."""
    patterns = ("*.md", "docs/**/*.md", "mtml_tf/**/*.md")
    paths = [path for pattern in patterns for path in ROOT.glob(pattern)]
    pages = {path.relative_to(ROOT).as_posix() for path in paths}
    others = sorted(pages - {*FIRST_PAGES, *SECOND_BOOK})
    return [page for page in (*FIRST_PAGES, *others, *SECOND_BOOK) if page in pages]


def read_books():
    """Returns the commands of the first and of the second book; what both show is in the first."""
    commands = read_commands(find_pages())
    return tuple(
        [command for command in commands if (command.page in SECOND_BOOK) == is_second]
        for is_second in (False, True)
    )


def read_commands(pages):
    """Returns the commands of the pages in order, each once: in blocks, and within the text."""
    found = {}
    for page in pages:
        for start, language, text in read_blocks(page):
            if language == SHELL:
                shown = [(start, command) for command in split_commands(text)]
            elif language == PYTHON:
                shown = [(start, text)]
            elif language is None:
                shown = [
                    (start + text.count("\n", 0, span.start()), " ".join(span.group(1).split()))
                    for span in re.finditer(r"`([^`]+)`", text)
                    if re.match(f"({_SETTING})*({_PROGRAM})", span.group(1))
                ]
            else:
                continue
            for line, command in shown:
                found.setdefault(command, Command(page, line, command, language or SHELL))
    return list(found.values())


# --- How they are made smaller -----------------------------------------------------------------

# Flags added to every program whose command matches, also where another program starts it. A flag
# given twice has its last value.
SMALLER = (
    ("mtml_tf.train ", "--epochs=1 --width=0.0625 --dilations=1,1 --ap_every=1"),
    # Many copies of few scans: two steps.
    ("mtml_tf.train .*experiments/tabletop", "--batch_size=12"),
    ("mtml_tf.train_semantic ", "--epochs=1 --batch_size=2 --planes=2 --num_levels=2"),
    ("mtml_tf.train_semantic .*--folds", "--folds=2"),
    ("experiments.semantic_rooms ", "--scans_dir=real"),
    ("experiments.speed.semantic", "--networks=small --vertices=1000 --repeats=1"),
    ("tools/make_toy.py ", "--num_train=4 --num_test=2"),
    ("tools/make_rooms.py .*--output_dir=(data|runs)", "--num_scenes=5 --num_val=3"),
    ("tools/compose_scans.py ", "--num_scenes=2"),
    ("tools/pack_submission.py .*--scannet_dir=S", "--scenes=S/scannetv2_test.txt"),
    ("tools/benchmark.py ", "--quick --repeats=1 --max_seconds=1"),
    ("tools/benchmark.py .*--run_dir=runs/rooms", "--only=forward,mean_shift,path"),
    # They start 16 processes each; tests/test_speed.py makes these comparisons.
    ("tools/benchmark.py --only=(variants|onednn)", "--only=loss"),
    ("tools/view.py .*--scene=NAME", "--scene=scan3"),
    ("mtml_tf.predict .*--model=NAME", "--model=tabletop"),
    ("mtml_tf.evaluate --prediction_dir=R", "--prediction_dir=runs/table2/predictions/val_fe_only"),
    ("experiments.figure7 .*--output_png=F", "--scenes= --output_png=figure7.png"),
    ("experiments.table3 --result_csv=F", "--result_csv=scores.csv"),
    ("experiments.tabletop --scans_dir=S", "--scans_dir=kinect"),
    ("experiments.real_rooms ", "--scans_dir=real --num_turns=1"),
    ("experiments.sweep ", "--num_scenes=1"),
    ("experiments.fuzz ", "--num_inputs=10 --max_seconds=0"),
    ("experiments.steady", "--count=4"),
    ("experiments.cost ", "--num_scenes=1,2"),
    ("tests.reference_scoring", "--cases=50"),
)


def shorten(arguments):
    """Returns the arguments of `python` with what `SMALLER` adds."""
    text = " ".join(arguments) + " "
    added = [flags.split() for pattern, flags in SMALLER if re.search(pattern, text)]
    return [*arguments, *itertools.chain(*added)]


def prepare(arguments):
    """For `program_server`: prepares its process and returns the arguments to run with.

    Rooms are scanned coarsely, no other processes are started, and functions of TensorFlow run
    without graphs, which take seconds to build, but where graphs are what is made.
    """
    making.MakingSettings = coarse_settings
    parallel.num_cores = lambda: 1
    if arguments[0] == "-c":
        return arguments
    tf.config.run_functions_eagerly("mtml_tf.export" not in arguments)
    return shorten(arguments)


# --- What is looked at where a command can't be run ---------------------------------------------


def check_script(words, place):
    """`bash SCRIPT`: there, and without errors of syntax."""
    subprocess.run(["bash", "-n", ROOT / words[1]], check=True)


def check_help(words, place):
    """`python -m MODULE`: tells its flags; a test of its own tries what is in it."""
    place.run([*words[1:3], "--help"])


def check_activation(words, place):
    """`. FILE`: a shell can read it."""
    subprocess.run(["sh", "-c", shlex.join(words)], cwd=place.folder, check=True)


def check_environment(words, place):
    """`python3 -m venv FOLDER`, without pip."""
    subprocess.run([*words, "--without-pip"], cwd=place.folder, check=True)


def check_installation(words, place):
    """`pip install ...`: files are there, extras and versions are those of the requirements."""
    given = words[words.index("install") + 1 :]
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    requirements = (ROOT / "requirements.txt").read_text()
    assert given
    for word in given:
        package = re.fullmatch(r"(\w[\w-]*)(?:\[([\w-]+)\])?(==\S+)?", word)
        if word.startswith("-"):
            assert word in ("-r", "-c", "-e", "--no-deps"), word
        elif package is None:
            assert (ROOT / word).exists(), word
        else:
            name, extra, version = package.groups()
            if name == config["metadata"]["name"]:
                assert extra in config["options.extras_require"]
            elif version:
                assert f"{name}{version};" in requirements
            else:
                assert re.search(rf"^{name}\b", requirements, re.MULTILINE)


def check_image(words, place):
    """`docker build ... FOLDER`: its Dockerfile is there (test_dockerfile.py reads it)."""
    assert (ROOT / words[-1] / "Dockerfile").is_file()


def check_container(words, place):
    """`docker run ... mtml_tf PROGRAM`: runs the program as the image's entry point does."""
    arguments = [word.replace("/data/", "./") for word in words[words.index("mtml_tf") + 1 :]]
    place.run(["-m", *arguments])


def check_serving(words, place):
    """`docker run ... tensorflow/serving`: the model lies where TensorFlow Serving looks for it."""
    outside, inside = words[words.index("-v") + 1].replace("$PWD/", "").split(":")
    assert (place.folder / outside / "1" / "saved_model.pb").is_file()
    assert inside == f"/models/{words[words.index('-e') + 1].removeprefix('MODEL_NAME=')}"


def check_request(words, place):
    """`curl URL -d JSON`: the exported model takes what is sent."""
    address = re.fullmatch(r"http://localhost:8501/v1/models/(\w+):predict", words[1])
    assert address, words[1]
    inputs = json.loads(words[words.index("-d") + 1])["inputs"]
    (model,) = {path.parent.parent for path in place.folder.glob("exported/*/1/saved_model.pb")}
    place.run(["-c", _REQUEST.format(path=str(model / "1"), inputs=inputs)])


_REQUEST = """\
import tensorflow as tf

signature = tf.saved_model.load({path!r}).signatures["serving_default"]
types = signature.structured_input_signature[1]
inputs = {{name: tf.constant(given, types[name].dtype) for name, given in {inputs!r}.items()}}
assert set(inputs) == set(types)
outputs = signature(**inputs)
assert outputs["embedding"].shape[0] == len(inputs["coordinates"])
"""


def check_tensorboard(words, place):
    """`tensorboard --logdir=FOLDER`: takes its flags, and there are logs."""
    code = f"from tensorboard import program; program.TensorBoard().configure({words!r})"
    place.run(["-c", code])
    log_dir = re.search(r"--logdir[= ](\S+)", " ".join(words)).group(1)
    assert list((place.folder / log_dir).rglob("events.out.tfevents*"))


# Pattern of the command, why it is not run, what is done instead; the first one that fits.
CHECKED = (
    (r"bash tools/", "installs packages, trains or runs all tests", check_script),
    (r"\. ", "changes the shell that it is typed into", check_activation),
    (r"python3 -m venv ", "installs pip", check_environment),
    (r"\S*pip install ", "needs a network", check_installation),
    (r"docker build ", "needs an engine and a network", check_image),
    (r"docker run .*tensorflow/serving$", "needs an engine and a network", check_serving),
    (r"docker run .* mtml_tf ", "needs an engine", check_container),
    (r"curl ", "needs a server", check_request),
    (r"python -m experiments\.(kills|disk_faults|steady)", "takes minutes, or root", check_help),
    (r"tensorboard ", "serves until it is stopped", check_tensorboard),
)


# --- Running them ------------------------------------------------------------------------------


class Book:
    """Runs the commands of pages in order, in one folder, each once.

    Attributes:
        commands: all of them.
        folder: where they run.
        server: what runs them, of `program_server`.
    """

    def __init__(self, commands, folder, server):
        self.commands, self.folder, self.server = commands, folder, server
        self._outcomes = []

    def check(self, number):
        """Raises what went wrong with a command; runs it first, and those before it."""
        while len(self._outcomes) <= number:
            try:
                self._carry_out(self.commands[len(self._outcomes)])
            except Exception as error:
                self._outcomes.append(error)
            else:
                self._outcomes.append(None)
        if self._outcomes[number] is not None:
            raise self._outcomes[number]

    def run(self, arguments):
        """Runs `python <arguments>`."""
        done = self.server.run(arguments, self.folder)
        told = f"python {shlex.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        assert done.status == 0, told
        assert "Traceback" not in done.stderr, told
        outputs = dict(re.findall(r"--(output_\w+|run_dir)=(\S+)", " ".join(shorten(arguments))))
        for flag, path in outputs.items():
            assert (self.folder / path).exists(), f"{told}\nnothing at --{flag}={path}"

    def _carry_out(self, command):
        if command.language == PYTHON:
            self.run(["-c", command.text])
            return
        text = re.sub(f"^({_SETTING})*", "", command.text)
        words = shlex.split(text)
        for pattern, _, check in CHECKED:
            if re.match(pattern, text):
                check(words, self)
                return
        assert words[0] in ("python", "python3", ".venv/bin/python"), (
            f"{command}: no program of ours; say in CHECKED how to check it"
        )
        self.run(words[1:])
