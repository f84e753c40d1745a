"""Feeds damaged files to every reader: `python -m experiments.fuzz --num_inputs=1000`

Whatever the bytes of a file are, its reader returns something valid or raises one ValueError: a
line that names the file. Anything else (another error, a warning, more memory than
`--max_memory_mb`, more time than `--max_input_seconds`, the end of the process) is a fault.
"""

import ctypes
import hashlib
import importlib
import math
import multiprocessing
import os
import pathlib
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags, logging

from mtml_tf import files, program

FLAGS = flags.FLAGS

_TOKEN = re.compile(rb'"[^"\n]*"|-?[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?|\w+|[^\s\w]', re.IGNORECASE)
# What is put in the place of a word or a number, or before it.
_ODD = [
    *b"nan inf -inf NaN -1 0 -0.0 +5 0.5 1_0 256 65536 1e39 1e400 null true".split(),
    *b'{} [] [[1]] "" "a" " , ../../a /etc/passwd \xff \xef\xbb\xbf \xd9\xa3 \xe2\x80\xa8'.split(),
    *(b"%d" % (2**bits + more) for bits in (31, 32, 63, 64) for more in (-1, 0)),
    *(b"\0", b"\r", b"\n", b"\x1b[2J", b"9" * 40, b"9" * 5000, b"a" * 9000),
    *(b"[" * 5000, b"(" * 500, b'{"a":' * 5000),
]
_PACKED = [
    struct.pack(order + code, value)
    for order in "<>"
    for code, values in (
        ("H", (0, 1, 0xFFFF)),
        ("I", (0, 1, 2**31 - 1, 2**31, 2**32 - 1)),
        ("Q", (0, 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)),
        ("f", (float("nan"), float("inf"), -1.0, 3e38)),
        ("d", (float("nan"), float("-inf"), 1e308, 2.0**63)),
    )
    for value in values
]
# Of the table that a child process fills.
_COLUMNS = ("inputs", "accepted", "refused", "untyped", "warnings", "slowest ms", "memory MiB")
INPUTS, ACCEPTED, REFUSED, UNTYPED, WARNINGS, SLOWEST, MEMORY = range(len(_COLUMNS))
_LONGEST_MESSAGE = 2000  # characters
_MOST_BYTES = 1 << 17  # of an input
FILES = "files"


class _TooLongError(BaseException):
    """Raised by the alarm; of a kind that no reader catches."""


def mutate(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Returns the content with one to four damages."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        content = _damage(content, others, rng)
    return content


def _damage(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    first, last = sorted((rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)))
    last = min(last, first + rng.choice((1, 4, 16, 1 << 20)))
    part = content[first:last]
    kind = rng.randrange(12)
    if kind == 0:
        return content[:first]
    if kind == 1:
        return content[:first] + content[last:]
    if kind == 2:
        return content[:last] + part * rng.choice((1, 1, 2, 50)) + content[last:]
    if kind == 3 and part:
        return content[:first] + bytes([part[0] ^ 1 << rng.randrange(8)]) + content[first + 1 :]
    if kind == 4 and part:
        return content[:first] + rng.randbytes(len(part)) + content[last:]
    if kind == 5:
        other = rng.choice(others)
        return content[:first] + other[rng.randrange(len(other) + 1) :]
    if kind == 6:
        packed = rng.choice(_PACKED)
        return content[:first] + packed + content[first + len(packed) :]
    if kind == 7:
        return content[:first] + rng.choice(_ODD) + content[first:]
    if kind == 8:
        lines = content.splitlines(keepends=True)
        rng.shuffle(lines)
        return b"".join(lines + lines[: rng.randrange(3)])
    tokens = [match.span() for match in _TOKEN.finditer(content, 0, 1 << 14)]
    if not tokens:
        return content + rng.choice(_ODD)
    start, end = rng.choice(tokens)
    token = rng.choice(_ODD)
    if kind == 9:  # another token of the same file
        token = content[slice(*rng.choice(tokens))]
    return content[:start] + token + content[end:]


def fault_of(error: BaseException, folder: pathlib.Path) -> str:
    """Returns what is wrong with an error as one sentence for a user; empty where nothing is."""
    text = str(error)
    if str(folder) not in text and not isinstance(error, flags.Error):  # which names the flag
        return "names no file"
    if len(text.splitlines()) > 1 or not all(c.isprintable() for c in text):
        return "is not one printable line"
    return "is too long" if len(text) > _LONGEST_MESSAGE else ""


class Trial:
    """Gives one reader one input after the other, and counts what happens.

    Attributes:
        counts: a number for each of `_COLUMNS`.
        faults: the first input of each fault, by what is wrong.
    """

    def __init__(self, target: Any, folder: pathlib.Path, counts: Any, max_input_seconds: float):
        self._target, self._folder, self._seconds = target, folder, max_input_seconds
        self.seeds: list[bytes] = target.prepare(folder)
        self.counts = counts
        self.faults: dict[str, tuple[bytes, str]] = {}
        self._path = folder / target.file

    def __call__(self, content: bytes) -> None:
        """Tries one input."""
        self._path.write_bytes(content)
        column, wrong = ACCEPTED, ""
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        try:
            self._target.read(self._folder)
        except self._target.refusals as error:
            column, wrong = REFUSED, fault_of(error, self._folder)
            if wrong:
                self._note(content, error, wrong)
        except Warning as error:
            column, wrong = WARNINGS, "is a warning"
            self._note(content, error, wrong)
        except (Exception, SystemExit, _TooLongError) as error:
            wrong = "is no ValueError"
            self._note(content, error, wrong)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.counts[SLOWEST] = max(self.counts[SLOWEST], 1000 * (time.process_time() - begin))
        self.counts[INPUTS] += 1
        self.counts[UNTYPED if wrong and column != WARNINGS else column] += 1

    def _note(self, content: bytes, error: BaseException, wrong: str) -> None:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "mtml_tf" in f.filename]
        place = f"{pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        key = f"{type(error).__name__} at {place} {wrong}"
        self.faults.setdefault(key, (content, ascii(str(error))[:300]))


def _memory_mib(field: str) -> float:
    """Returns VmRSS, VmHWM (its highest since it was reset) or VmSize of this process."""
    text = pathlib.Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(re.search(rf"{field}:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


def _too_long(*_: object) -> None:
    raise _TooLongError("the time is up")


def _run_target(name: str, counts: Any, folder: pathlib.Path, seconds: float, options: Any) -> None:
    """Tries inputs of one target; for a process of its own."""
    targets = importlib.import_module("experiments.fuzz_targets").TARGETS
    logging.set_verbosity(logging.FATAL)
    warnings.simplefilter("error")
    signal.signal(signal.SIGALRM, _too_long)
    (folder / FILES).mkdir()
    trial = Trial(targets[name], folder / FILES, counts, options["max_input_seconds"])
    for seed in trial.seeds:
        trial(seed)
    if counts[ACCEPTED] != len(trial.seeds):
        counts[UNTYPED] += 1
        trial.faults["a valid file is refused"] = trial.seeds[0], ""
    counts[SLOWEST] = 0.0
    pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _memory_mib("VmRSS")
    most = int((_memory_mib("VmSize") + options["max_memory_mb"]) * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    told: set[str] = set()

    def try_input(content: bytes) -> None:
        if len(content) <= _MOST_BYTES:
            trial(content)
        if counts[INPUTS] % 64 == 0 or len(trial.faults) > len(told):
            counts[MEMORY] = max(0.0, _memory_mib("VmHWM") - before)
        for key in trial.faults.keys() - told:
            told.add(key)
            content, message = trial.faults[key]
            place = _save(options["output_dir"], name, content)
            print(f"{name}: {key}: {message}; {place}", file=sys.stderr, flush=True)

    begin = time.monotonic()
    if options["engine"] == "atheris":
        _run_atheris(try_input, trial.seeds, seconds, options, folder / "corpus")
    rng = random.Random(options["seed"])
    for _ in range(options["num_inputs"]):
        try_input(mutate(rng.choice(trial.seeds), trial.seeds, rng))
        if seconds and time.monotonic() > begin + seconds:
            break


def _run_atheris(
    try_input: Callable[[bytes], None],
    seeds: Sequence[bytes],
    seconds: float,
    options: Any,
    corpus: pathlib.Path,
) -> None:
    """Lets Atheris choose the inputs by what code of the package they reach; ends the process."""
    import atheris

    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)

    def mutator(content: bytes, max_size: int, seed: int) -> bytes:
        if seed % 2:
            return atheris.Mutate(content, max_size)
        return mutate(content, seeds, random.Random(seed))[:max_size]

    arguments = [f"-runs={options['num_inputs']}", f"-max_total_time={math.ceil(seconds)}"]
    arguments += [f"-seed={options['seed'] + 1}", f"-max_len={_MOST_BYTES}", "-timeout=0"]
    arguments += ["-rss_limit_mb=0", "-verbosity=0", "-print_final_stats=0", str(corpus)]
    atheris.Setup([sys.argv[0], *arguments], try_input, custom_mutator=mutator)
    atheris.Fuzz()


def _save(output_dir: str, name: str, content: bytes) -> str:
    """Writes an input for somebody to look at; returns its path."""
    digest = hashlib.sha256(content).hexdigest()[:12]
    path = pathlib.Path(output_dir, f"{name}-{digest}.bin")
    files.write_text(path.with_suffix(".txt"), repr(content[:4000]) + "\n", overwrite=True)
    with files.writing_file(path, overwrite=True) as temporary:
        temporary.write_bytes(content)
    return str(path)


def run_targets(
    names: Sequence[str], options: Mapping[str, Any]
) -> Iterator[tuple[str, list[float]]]:
    """Yields what is counted of each target (see `_COLUMNS`), each in a process of its own.

    Args:
        names: of the targets.
        options: the flags by their names.
    """
    context = multiprocessing.get_context("fork")
    end = time.monotonic() + options["max_seconds"]
    for number, name in enumerate(names):
        seconds = 0.0
        if options["max_seconds"]:
            seconds = max(0.1, (end - time.monotonic()) / (len(names) - number))
        counts = context.RawArray(ctypes.c_double, len(_COLUMNS))
        place = "/dev/shm" if os.path.isdir("/dev/shm") else None
        with tempfile.TemporaryDirectory(dir=place) as folder:
            arguments = (name, counts, pathlib.Path(folder), seconds, options)
            process = context.Process(target=_run_target, args=arguments)
            process.start()
            process.join()
            if process.exitcode:
                counts[UNTYPED] += 1
                targets = importlib.import_module("experiments.fuzz_targets").TARGETS
                path = pathlib.Path(folder, FILES, targets[name].file)
                saved = _save(options["output_dir"], name, path.read_bytes())
                print(
                    f"{name}: the process ended with {process.exitcode}; {saved}", file=sys.stderr
                )
        yield name, list(counts)


def chosen(names: Sequence[str], targets: Mapping[str, Any]) -> list[str]:
    """Returns the names, all targets where there are none. Raises ValueError for an unknown one."""
    if unknown := [name for name in names if name not in targets]:
        raise ValueError(f"--targets: expected some of {list(targets)}, found '{unknown[0]}'")
    return list(names or targets)


def _print_row(name: str, row: Sequence[object]) -> None:
    print(f"| {name:<16} |" + "".join(f" {value:>10} |" for value in row), flush=True)


def main() -> None:
    """Runs the targets and prints a row for each."""
    options = {name: FLAGS[name].value for name in _OPTIONS}
    if FLAGS.engine == "atheris":
        try:
            import atheris
        except ImportError as error:
            raise ValueError(
                "--engine=atheris: expected the package atheris, found none; install the extra "
                "'fuzz' (pip install -e .[fuzz]), or leave --engine out"
            ) from error
        with atheris.instrument_imports(include=["mtml_tf"]):
            from experiments.fuzz_targets import TARGETS
    else:
        from experiments.fuzz_targets import TARGETS
    names = chosen(FLAGS.targets, TARGETS)
    _print_row("target", _COLUMNS)
    _print_row("---", ["---"] * len(_COLUMNS))
    table = {}
    for name, row in run_targets(names, options):
        table[name] = row
        _print_row(name, _told(row))
    total = [sum(column) for column in zip(*table.values(), strict=True)]
    for column in (SLOWEST, MEMORY):
        total[column] = max(row[column] for row in table.values())
    _print_row("all", _told(total))
    if total[UNTYPED] or total[WARNINGS]:
        raise ValueError(
            f"{FLAGS.output_dir}: expected every input to be read or refused, found "
            f"{total[UNTYPED] + total[WARNINGS]:.0f} that were not; they are told above"
        )


def _told(row: Sequence[float]) -> list[str]:
    return [f"{value:.0f}" for value in row[:SLOWEST]] + [f"{value:.1f}" for value in row[SLOWEST:]]


_OPTIONS = (
    *("engine", "num_inputs", "seed", "max_seconds", "max_input_seconds", "max_memory_mb"),
    "output_dir",
)


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_list("targets", [], "Which readers; all by default.")
    flags.DEFINE_enum(
        "engine", "random", ["random", "atheris"], "What makes the inputs: chance, or coverage."
    )
    flags.DEFINE_integer("num_inputs", 1000, "Inputs for each target.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Draws the damages.", lower_bound=0)
    flags.DEFINE_float("max_seconds", 0.0, "Time for all targets; 0 for no limit.", lower_bound=0)
    flags.DEFINE_float("max_input_seconds", 10.0, "An input that takes longer is a fault.")
    flags.DEFINE_float("max_memory_mb", 1024.0, "An input that takes more memory is a fault.")
    flags.DEFINE_string("output_dir", "out/fuzz", "Folder for the first input of each fault.")


if __name__ == "__main__":
    define_flags()
    program.run(main)
