"""What every program has in common: how it starts, fails and shows progress."""

import importlib.metadata
import json
import pathlib
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import TypeVar

import tqdm
from absl import app, flags, logging

from mtml_tf import files

Item = TypeVar("Item")

DONE, FAILED, WRONG_USAGE = 0, 1, 2
_INTERVAL_S = 10.0
_LONGEST_NAME = 100  # characters of a flag with its dashes
_SHOWN = 1000  # characters of an error in flags
RUN_FLAGS = "flags.cfg"  # in a run folder, the flags of its last start


def run(main: Callable[[], None], required: Iterable[str] = ()) -> None:
    """Parses the flags, calls `main`, and exits: 0 done or helped, 1 failed, 2 wrong usage.

    A failure that the user can mend (ValueError, OSError, MemoryError, a library that is missing,
    what TensorFlow says of a disk) is told in one sentence on stderr; `--verbosity=1` adds the
    traceback.

    Args:
        main: the program; reads its flags, then calls the library.
        required: names of the flags without which it can't run.
    """
    _parse_flags(required)
    logging.use_absl_handler()
    if flags.FLAGS["verbosity"].using_default_value:
        flags.FLAGS.verbosity = 0  # absl's own default keeps back what is logged at level info
    try:
        main()
    except flags.Error as error:
        print(f"{sys.argv[0]}: {error}; --helpfull lists the flags", file=sys.stderr)
        sys.exit(WRONG_USAGE)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(FAILED)
    except Exception as error:
        number = files.disk_fault(error)
        if not (number or isinstance(error, ValueError | OSError | MemoryError | ImportError)):
            raise
        if flags.FLAGS.verbosity >= 1:
            traceback.print_exc()
        told = str(error) or type(error).__name__
        if number and isinstance(error, OSError) and error.filename:
            told = str(files.disk_error(error.filename, number))
        elif number and not isinstance(error, OSError | files.DiskError):  # TensorFlow's
            told = str(files.disk_error(files.shown(told.partition(";")[0]), number))
        print(f"error: {told}", file=sys.stderr)
        sys.exit(FAILED)
    sys.exit(DONE)


def parse_flags(
    values: flags.FlagValues, arguments: Sequence[str], required: Iterable[str] = ()
) -> None:
    """Gives flags the values that are typed.

    Args:
        values: the flags.
        arguments: what is typed, the program's name first.
        required: names of the flags without which it can't run.

    Raises:
        flags.Error: a flag that is not known or has no such value, a file of flags that can't be
            read, anything that is no flag, or a flag that is missing.
    """
    try:
        typed = [arguments[0], *values.read_flags_from_files(list(arguments[1:]), force_gnu=False)]
        names = [word.partition("=")[0] for word in typed[1:] if word.startswith("-")]
        longest = max(names, key=len, default="")
        if len(longest) > _LONGEST_NAME:  # absl would look for the flag that it resembles most
            found = files.shown(longest, _LONGEST_NAME)
            raise flags.Error(f"expected flags of the program, found '{found}'")
        rest = values(typed)[1:]
    except (flags.Error, OSError, ValueError) as error:
        unread = error if isinstance(error, UnicodeDecodeError) else error.__context__
        if isinstance(unread, OSError):
            name = files.shown(unread.filename)
            told = f"{name}: expected a file of flags, found: {unread.strerror}"
        elif isinstance(unread, UnicodeDecodeError):
            told = f"expected a file of flags in UTF-8, found: {unread}"
        else:
            told = str(error)
        raise flags.Error(files.shown(told, _SHOWN)) from error
    problems = (
        [f"expected flags only (--name=value), found '{files.shown(rest[0])}'"] if rest else []
    )
    problems += [f"--{name} is required" for name in required if values[name].value in (None, "")]
    if problems:
        raise flags.Error("; ".join(problems))


def _parse_flags(required: Iterable[str]) -> None:
    """Parses `sys.argv`; exits 0 after --help, 2 where the flags are wrong."""
    app.define_help_flags()
    try:
        parse_flags(flags.FLAGS, sys.argv, required)
    except SystemExit:  # absl leaves with 1 after printing the help
        sys.exit(DONE)
    except flags.Error as error:
        print(f"{sys.argv[0]}: {error}; --helpfull lists the flags", file=sys.stderr)
        sys.exit(WRONG_USAGE)


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yields the items; shows a bar on a terminal, and plain lines at intervals elsewhere.

    Args:
        items: what to go through.
        what: the noun to show, such as "scenes".
        total: how many there are, where `items` has no length.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        yield from tqdm.tqdm(items, desc=what, total=total, file=sys.stderr)
        return
    start = shown = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - shown >= _INTERVAL_S:
            shown = now
            rate = count / (now - start)
            left = f" of {total}, {(total - count) / rate:.0f} s left" if total else ""
            logging.info("%s: %d%s, %.2g/s", what, count, left, rate)


def write_run_description(run_dir: str) -> None:
    """Writes the resolved flags (a flagfile) and the versions into a run folder."""
    path = pathlib.Path(run_dir)
    resolved = [f for f in flags.FLAGS.get_key_flags_for_module(sys.argv[0]) if f.value is not None]
    text = "\n".join(flag.serialize() for flag in resolved)
    files.write_text(path / RUN_FLAGS, text + "\n", overwrite=True)
    names = ("mtml_tf", "tensorflow", "numpy", "scipy", "scikit-learn")
    versions = {name: importlib.metadata.version(name) for name in names}
    versions["python"] = platform.python_version()
    files.write_text(path / "versions.json", json.dumps(versions, indent=1) + "\n", overwrite=True)
