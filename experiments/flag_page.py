"""Writes the page of all flags: `python -m experiments.flag_page --output_md=docs/flags.md`

What the programs say of their own flags, so that the page can't tell anything else.
"""

import ast
import concurrent.futures
import dataclasses
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Mapping, Sequence

from absl import flags

from mtml_tf import files, program
from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, SegmentConfig, TrainConfig

FLAGS = flags.FLAGS

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = ("mtml_tf", "tools", "experiments")  # as a user meets them

# Where the paper has a setting (a section, or an equation in section 3.2); - where it has not.
PAPER: dict[type, dict[str, str]] = {
    NetworkConfig: {
        "width": "-",
        "dilations": "3.1",
        "embedding_size": "3.2",
    },
    LossConfig: {
        "delta_var": "Eq. 2",
        "delta_dist": "Eq. 3",
        "gamma_var": "Eq. 1",
        "gamma_dist": "Eq. 1",
        "gamma_reg": "Eq. 1",
        "alpha_feature": "Eq. 6",
        "alpha_direction": "Eq. 6",
        "alpha_label": "-",
    },
    DataConfig: {
        "batch_size": "4, Setup",
        "flips": "3.3",
        "rotations": "3.3",
        "origins": "-",
        "stretch": "-",
        "warp": "-",
        "holes": "-",
        "unannotated": "-",
        "surroundings": "-",
        "crop": "-",
        "bucket_scenes": "-",
        "seed": "-",
    },
    TrainConfig: {
        "epochs": "4, Setup",
        "learning_rate": "4, Setup",
        "decay": "-",
        "validation_split": "4, Datasets",
        "validation_scenes": "-",
        "ap_every": "-",
        "min_vertices": "-",
        "checkpoint_every": "-",
        "max_minutes": "-",
        "init_from": "3.3",
        "execution": "-",
        "precision": "-",
        "recompute": "-",
        "strategy": "-",
        "hashes": "-",
    },
    SegmentConfig: {
        "bandwidths": "3.2, Post-processing",
        "propose_clusters": "3.2, Post-processing",
        "propose_cluster_components": "3.2, Post-processing",
        "propose_label_components": "3.2, Post-processing",
        "connectivity": "-",
        "feature_threshold": "3.2, Post-processing",
        "direction_weight": "3.2, Post-processing",
        "feature_weight": "3.2, Post-processing",
        "size_weight": "3.2, Post-processing",
        "label_weight": "-",
        "learned_score": "-",
        "suppression_iou": "3.2, Post-processing",
        "min_voxels": "-",
        "min_score": "-",
        "coherent": "4.1",
    },
}
TITLES = {
    NetworkConfig: "network",
    LossConfig: "loss",
    DataConfig: "data",
    TrainConfig: "training",
    SegmentConfig: "post-processing",
}

_HEAD = """\
# Every flag

`--helpfull` of a program says the same. All take `--flagfile=F` as well, a file with a flag in each
line (`experiments/*.cfg`), and `--verbosity=1` for tracebacks. A flag that is true or false is
given as `--name` or `--noname`, a list with commas. Sections are the paper's. Made by
`python -m experiments.flag_page --output_md=docs/flags.md --overwrite`.
"""
_OF_SETTINGS = """\
The last column tells the paper's section, or its equation in section 3.2, that has a setting, with
or without a value for it; -: not in the paper.
"""
_OF_THE_MODEL = "A setting that is not given is the model's.\n"

# Programs that take settings of the method.
SETTINGS: dict[str, tuple[type, ...]] = {
    "-m mtml_tf.train": tuple(PAPER),
    "-m mtml_tf.predict": (SegmentConfig,),
    "tools/view.py": (DataConfig,),
    "-m experiments.real_rooms": (SegmentConfig,),
}


@dataclasses.dataclass(frozen=True)
class Flag:
    """What a program says of one of its flags.

    Attributes:
        name: without dashes.
        default: as it is typed; empty where there is none.
        meaning: its help, and what may be given.
    """

    name: str
    default: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Program:
    """What the source of a program says of it.

    Attributes:
        command: what follows `python`: `-m mtml_tf.train`, `tools/view.py` ...
        summary: a sentence.
        required: names of the flags without which it does not run.
    """

    command: str
    summary: str
    required: frozenset[str]


def find_programs() -> list[Program]:
    """Returns every program: the files that call `program.run`."""
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.py")):
            command = f"tools/{path.name}" if folder == "tools" else f"-m {folder}.{path.stem}"
            found += parse_program(command, path.read_text(encoding="utf-8"))
    return found


def parse_program(command: str, source: str) -> list[Program]:
    """Returns the program whose source this is; none where it is no program."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "program.run":
            given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
            first = (ast.get_docstring(tree) or "").partition("\n")[0]
            summary = re.sub(r"[.:]?( *`python .*)?$", ".", first, count=1)
            return [Program(command, summary, frozenset(given.get("required", ())))]
    return []


def read_flags(command: str) -> list[Flag]:
    """Returns the flags of a program by its `--helpxml`, in alphabetical order."""
    done = subprocess.run(
        [sys.executable, *command.split(), "--helpxml"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found = []
    for flag in xml.etree.ElementTree.fromstring(done.stdout).iter("flag"):
        if flag.findtext("key") == "yes":
            name, default, meaning = (
                flag.findtext(tag) or "" for tag in ("name", "default", "meaning")
            )
            # absl puts before a meaning what may be given, and after it that it takes a list.
            if choices := re.match(r"<([^>]*)>: ", meaning):
                among = ", ".join(filter(None, choices.group(1).split("|")))
                meaning = f"{meaning[choices.end() :]} One of {among}."
            meaning = " ".join(meaning.replace("(a comma separated list)", "").split())
            found.append(Flag(name, "" if default == "None" else default, meaning))
    return sorted(found, key=lambda flag: flag.name)


def encode_page(flags_of: Mapping[Program, Sequence[Flag]]) -> str:
    """Returns the page; settings stand apart from a program's own flags."""
    parts = [_HEAD]
    for one, given in flags_of.items():
        kinds = SETTINGS.get(one.command, ())
        rows = {flag.name: _row(one, flag) for flag in given}
        settings = {name for kind in kinds for name in PAPER[kind]}
        own = [row for name, row in rows.items() if name not in settings]
        parts += [f"## python {one.command}\n", f"{one.summary}\n"]
        parts.append(_encode_table(own, ("flag", "default", "meaning")))
        if kinds:
            is_of_model = not any(flag.default for flag in given if flag.name in settings)
            parts.append(_OF_SETTINGS + (_OF_THE_MODEL if is_of_model else ""))
        for kind in kinds:
            of_kind = [(*rows[name], paper) for name, paper in PAPER[kind].items() if name in rows]
            parts.append(f"**{TITLES[kind].capitalize()}**\n")
            parts.append(_encode_table(of_kind, ("flag", "default", "meaning", "paper")))
    return "\n".join(parts)


def _row(one: Program, flag: Flag) -> tuple[str, str, str]:
    default = f"`{flag.default}`" if flag.default else ""
    if flag.name in one.required:
        default = "required"
    meaning = flag.meaning.replace("<", "\\<").replace("|", "\\|")  # no tags, no columns
    return f"`--{flag.name}`", default, meaning


def _encode_table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def make_page() -> str:
    """Returns the page of all programs."""
    found = find_programs()
    with concurrent.futures.ThreadPoolExecutor() as executor:
        given = executor.map(read_flags, [one.command for one in found])
        return encode_page(dict(zip(found, given, strict=True)))


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("output_md", None, "Markdown file for the page.")
    flags.DEFINE_bool("overwrite", False, "Replace a page that exists.")


def main() -> None:
    """Asks every program for its flags and writes the page."""
    files.write_text(FLAGS.output_md, make_page(), FLAGS.overwrite)


if __name__ == "__main__":
    define_flags()
    program.run(main, required=["output_md"])
