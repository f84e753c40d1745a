"""Writes the page of all flags: `python -m experiments.flag_page --output_md=docs/flags.md`

What the programs say of their own flags, so that the page can't tell anything else.
"""

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
    },
    DataConfig: {
        "batch_size": "4, Setup",
        "flips": "3.3",
        "rotations": "3.3",
        "shifts": "-",
        "bucket_scenes": "-",
        "seed": "-",
    },
    TrainConfig: {
        "epochs": "4, Setup",
        "learning_rate": "4, Setup",
        "decay": "-",
        "validation_split": "4, Datasets",
        "validation_scenes": "-",
        "ap_every": "4, Metrics",
        "min_vertices": "-",
        "checkpoint_every": "-",
        "max_minutes": "-",
        "init_from": "3.3",
        "execution": "-",
        "precision": "-",
        "recompute": "-",
        "strategy": "-",
    },
    SegmentConfig: {
        "bandwidths": "3.2, Post-processing",
        "propose_clusters": "3.2, Post-processing",
        "propose_cluster_components": "3.2, Post-processing",
        "propose_label_components": "4, Baselines",
        "connectivity": "-",
        "feature_threshold": "3.2, Post-processing",
        "direction_weight": "3.2, Post-processing",
        "feature_weight": "3.2, Post-processing",
        "size_weight": "3.2, Post-processing",
        "suppression_iou": "3.2, Post-processing",
        "min_voxels": "-",
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
given as `--name` or `--noname`, a list with commas. Made by `python -m experiments.flag_page
--output_md=docs/flags.md --overwrite`.
"""
_OF_SETTINGS = """\
Where the paper has a setting (a section, or an equation in section 3.2) stands in the last column;
the others are ours. A setting without a default is the model's.
"""

# Programs that take settings of the method.
SETTINGS: dict[str, tuple[type, ...]] = {
    "-m mtml_tf.train": tuple(PAPER),
    "-m mtml_tf.predict": (SegmentConfig,),
}


@dataclasses.dataclass(frozen=True)
class Flag:
    """What a program says of one of its flags."""

    name: str
    default: str
    meaning: str


def programs() -> list[str]:
    """Returns what follows `python` for every program: `-m mtml_tf.train`, `tools/view.py` ..."""
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.py")):
            if "program.run(main" in path.read_text(encoding="utf-8"):
                is_tool = folder == "tools"
                found.append(f"tools/{path.name}" if is_tool else f"-m {folder}.{path.stem}")
    return found


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


def encode_page(flags_of: Mapping[str, Sequence[Flag]]) -> str:
    """Returns the page; settings stand apart from a program's own flags."""
    parts = [_HEAD]
    for command, given in flags_of.items():
        kinds = SETTINGS.get(command, ())
        settings = {name for kind in kinds for name in PAPER[kind]}
        own = [_row(flag) for flag in given if flag.name not in settings]
        parts += [f"## python {command}\n", _encode_table(own, ("flag", "default", "meaning"))]
        if kinds:
            parts.append(_OF_SETTINGS)
        by_name = {flag.name: flag for flag in given}
        for kind in kinds:
            rows = [(*_row(by_name[name]), paper) for name, paper in PAPER[kind].items()]
            parts.append(f"**{TITLES[kind].capitalize()}**\n")
            parts.append(_encode_table(rows, ("flag", "default", "meaning", "paper")))
    return "\n".join(parts)


def _row(flag: Flag) -> tuple[str, str, str]:
    return f"`--{flag.name}`", f"`{flag.default}`" if flag.default else "", flag.meaning


def _encode_table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return text.replace("<", "\\<")  # else the name of a tag


def make_page() -> str:
    """Returns the page of all programs."""
    commands = programs()
    with concurrent.futures.ThreadPoolExecutor() as executor:
        return encode_page(dict(zip(commands, executor.map(read_flags, commands), strict=True)))


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
