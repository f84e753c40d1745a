"""Work on several cores: one process each, and no process left behind."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Read by NumPy's and TensorFlow's libraries when they are loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
AHEAD = 8  # results a process, in memory at once: made before those in front of them are taken


def map_processes(
    function: Callable[[Item], Result], items: Sequence[Item], what: str, num_workers: int = 0
) -> Iterator[Result]:
    """Calls a function for each item and yields the results in the order of the items.

    The processes share the cores: each computes on as many threads as it has cores of its own,
    unless the environment says how many.

    Args:
        function: can be sent to another process, as its arguments and results can.
        items: what to call it with.
        what: the noun to name the items by, such as "scenes".
        num_workers: how many processes; 0 for one a core, 1 for this one.

    Raises:
        ValueError: a process died.
        Exception: what `function` raises; items that wait are not begun then.
    """
    num_workers = min(num_workers or num_cores(), len(items))
    if num_workers <= 1:
        yield from map(function, items)
        return
    # Processes that are started afresh: a copy of one that holds threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(num_workers, context, _end_with_parent)
    try:
        waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
        for item in items:
            with _threads_of_processes(max(1, num_cores() // num_workers)):
                waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD * num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ValueError(
            f"expected {num_workers} processes to work on {what}, found that one has died, perhaps "
            "for want of memory; start again with a smaller --num_workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def num_cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _threads_of_processes(count: int) -> Iterator[None]:
    """Lets processes that are started within the block compute on so many threads each."""
    added = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, str(count)))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _end_with_parent() -> None:
    """Ends this process once the one that started it is gone, killed for example."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
