"""What every program has in common: how it starts, fails and shows progress."""

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import tqdm
from absl import flags, logging

Item = TypeVar("Item")

DONE, FAILED, WRONG_USAGE = 0, 1, 2
_INTERVAL_S = 10.0


def run(main: Callable[[], None], required: Iterable[str] = ()) -> None:
    """Parses the flags, calls `main`, and exits: 0 done, 1 failed, 2 wrong usage.

    A failure that the user can mend (ValueError, OSError, MemoryError) is told in one sentence on
    stderr; `--verbosity=1` adds the traceback.

    Args:
        main: the program; reads its flags, then calls the library.
        required: names of the flags without which it can't run.
    """
    flags.mark_flags_as_required(list(required))
    try:
        rest = flags.FLAGS(sys.argv)[1:]
        if rest:
            raise flags.Error(f"expected flags only (--name=value), found '{rest[0]}'")
    except (flags.Error, OSError) as error:
        print(f"{sys.argv[0]}: {error}; --helpfull lists the flags", file=sys.stderr)
        sys.exit(WRONG_USAGE)
    logging.use_absl_handler()
    try:
        main()
    except (ValueError, OSError, MemoryError) as error:
        if flags.FLAGS.verbosity >= 1:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(FAILED)
    sys.exit(DONE)


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yields the items; shows a bar on a terminal, and plain lines at intervals elsewhere.

    Args:
        items: what to go through.
        what: the noun to show, such as "scenes".
        total: how many there are, where `items` has no length.
    """
    if total is None and hasattr(items, "__len__"):
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
