"""How the benchmark measures: time by turns, memory in a fresh process, rows with a verdict."""

import concurrent.futures
import contextlib
import csv
import dataclasses
import io
import math
import multiprocessing
import pathlib
import re
import statistics
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Literal

from experiments.running import encode_markdown

Call = Callable[[], object]
# A top-level function or `functools.partial` of one, so that another process can build the call.
Build = Callable[[], Call]

_MIB = 1 << 20
_SAMPLING_S = 0.002


@dataclasses.dataclass(frozen=True)
class Target:
    """What a row must show.

    Attributes:
        limit: the bound.
        of: what it bounds: `ratio` (at least `limit` times), or our own value, which must be
            `at least` or `at most` the limit.
    """

    limit: float
    of: Literal["ratio", "at least", "at most"] = "ratio"


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what is measured.
        case: its size.
        ours: our value.
        plain: the value of what it is compared with, or None.
        unit: of both values; empty for plain numbers.
        target: what must come out, or None.
        beside: what else is to be known.
        repeats: how many timed calls the values are medians of; 0 where nothing is repeated.
    """

    what: str
    case: str
    ours: float
    plain: float | None = None
    unit: str = "s"
    target: Target | None = None
    beside: str = ""
    repeats: int = 0

    @property
    def ratio(self) -> float | None:
        """How many times our value is in the other; None where there is no other."""
        if self.plain is None:
            return None
        return self.plain / self.ours if self.ours else math.inf

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        if self.target.of == "at most":
            return self.ours <= self.target.limit
        if self.target.of == "at least":
            return self.ours >= self.target.limit
        return self.ratio is not None and self.ratio >= self.target.limit


@dataclasses.dataclass(frozen=True)
class Contest:
    """Two ways to the same result.

    Attributes:
        what, case: as in `Row`.
        ours: makes our call.
        plain: makes the other call, or None where nothing is compared.
        opponent: what the other call is.
        target: of the time.
        memory_target: of the memory that the call adds.
        warm_up: whether both are called once before time counts.
        on_device: whether it is TensorFlow that computes, on a GPU where there is one.
    """

    what: str
    case: str
    ours: Build
    plain: Build | None = None
    opponent: str = ""
    target: Target | None = None
    memory_target: Target | None = None
    warm_up: bool = True
    on_device: bool = False


def check_side(side: str, sides: Collection[str] = ("ours", "plain")) -> None:
    """Raises ValueError where a side of a contest has a name that is not among `sides`."""
    if side not in sides:
        raise ValueError(f"expected a side among {', '.join(sides)}, found '{side}'")


def prepare_devices(tensor_float_32: bool) -> None:
    """Lets a GPU's memory grow as it is needed, and says whether it may round to TensorFloat-32."""
    from mtml_tf.backend import tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)
    # Every comparison makes graphs of its own, which TensorFlow would warn of.
    tf.get_logger().setLevel("ERROR")


def interleaved_seconds(
    calls: Mapping[str, Call], repeats: int, max_seconds: float, warm_up: bool = True
) -> dict[str, list[float]]:
    """Times calls by turns (A B A B), so that what disturbs the machine disturbs all of them.

    Args:
        calls: by name.
        repeats: timed calls of each.
        max_seconds: no new round begins after so long; one round is always made.
        warm_up: call each once before.

    Returns:
        Seconds of each timed call.
    """
    begin = time.perf_counter()
    if warm_up:
        for call in calls.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_number in range(repeats):
        if round_number and time.perf_counter() - begin > max_seconds:
            break
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def time_contest(contest: Contest, repeats: int, max_seconds: float) -> tuple[Row, object, object]:
    """Times both sides by turns.

    Returns:
        The row of medians, and what the other call and ours returned last (None without another).
    """
    results: dict[str, object] = {}

    def keeping(name: str, call: Call) -> Call:
        def keep() -> None:
            results[name] = call()

        return keep

    calls = {"ours": keeping("ours", contest.ours())}
    if contest.plain is not None:
        calls = {"plain": keeping("plain", contest.plain()), **calls}
    seconds = interleaved_seconds(calls, repeats, max_seconds, contest.warm_up)
    row = Row(
        contest.what,
        contest.case,
        ours=statistics.median(seconds["ours"]),
        plain=statistics.median(seconds["plain"]) if "plain" in seconds else None,
        target=contest.target,
        beside=f"against {contest.opponent}" if contest.opponent else "",
        repeats=len(seconds["ours"]),
    )
    return row, results.get("plain"), results["ours"]


def memory_of_contest(contest: Contest, tensor_float_32: bool = False) -> Row:
    """Measures the memory that each side adds, each in a process of its own."""

    def measure(build: Build) -> float:
        # What an allocator keeps from an earlier call would hide what the next one needs.
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
            task = executor.submit(added_mebibytes, build, contest.on_device, tensor_float_32)
            return task.result()

    return Row(
        f"{contest.what}, memory added",
        contest.case,
        ours=measure(contest.ours),
        plain=None if contest.plain is None else measure(contest.plain),
        unit="MiB",
        target=contest.memory_target,
        beside=f"against {contest.opponent}" if contest.opponent else "",
    )


def added_mebibytes(build: Build, on_device: bool = False, tensor_float_32: bool = False) -> float:
    """Returns the peak memory during a call minus the memory before it, MiB.

    What builds the call (and loads, traces and warms up on something small) does not count.

    Args:
        build: makes the call.
        on_device: measure the memory of the first GPU where there is one; otherwise, the resident
            memory of this process.
        tensor_float_32: see `prepare_devices`.
    """
    gpus = []
    if on_device:
        from mtml_tf.backend import tf

        prepare_devices(tensor_float_32)
        gpus = tf.config.list_physical_devices("GPU")
    call = build()
    with _gpu_peak() if gpus else _resident_peak() as peak:
        call()
    return peak.added / _MIB


@dataclasses.dataclass
class _Peak:
    added: float = 0.0  # bytes


@contextlib.contextmanager
def _gpu_peak(device: str = "GPU:0") -> Iterator[_Peak]:
    from mtml_tf.backend import tf

    peak = _Peak()
    tf.config.experimental.reset_memory_stats(device)
    before = tf.config.experimental.get_memory_info(device)["current"]
    yield peak
    peak.added = tf.config.experimental.get_memory_info(device)["peak"] - before


@contextlib.contextmanager
def _resident_peak() -> Iterator[_Peak]:
    """The kernel's own peak where it can be reset, else samples of the resident memory."""
    peak = _Peak()
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        with _sampled_peak(peak):
            yield peak
        return
    before = _status_bytes("VmRSS")
    yield peak
    peak.added = max(0, _status_bytes("VmHWM") - before)


@contextlib.contextmanager
def _sampled_peak(peak: _Peak) -> Iterator[None]:
    before, done = _status_bytes("VmRSS"), threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLING_S):
            peak.added = max(peak.added, _status_bytes("VmRSS") - before)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _status_bytes(name: str) -> int:
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ValueError(f"/proc/self/status: expected a line {name}, found none")
    return int(found.group(1)) * 1024


HEADER = ("what", "case", "plain", "ours", "ratio", "target", "verdict", "beside")


def encode_rows(rows: Sequence[Row]) -> str:
    """Returns the rows as a Markdown table."""
    return encode_markdown([HEADER, *(_cells(row) for row in rows)])


def encode_csv(rows: Sequence[Row]) -> str:
    """Returns the rows as CSV, with all digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["what", "case", "unit", "plain", "ours", "ratio", "target", "verdict", "repeats", "beside"]
    )
    for row in rows:
        cells = _cells(row)
        values = (row.plain, row.ours, row.ratio)
        numbers = ("" if value is None else repr(value) for value in values)
        writer.writerow(
            [row.what, row.case, row.unit, *numbers, cells[5], cells[6], row.repeats, row.beside]
        )
    return text.getvalue()


def _cells(row: Row) -> list[str]:
    target = verdict = ""
    if row.target is not None:
        bound = format_number(row.target.limit)
        target = f"at least {bound} x" if row.target.of == "ratio" else f"{row.target.of} {bound}"
        verdict = "holds" if row.holds else "missed"
    plain = "" if row.plain is None else f"{format_number(row.plain)} {row.unit}"
    ratio = "" if row.ratio is None else f"{format_number(row.ratio)} x"
    ours = f"{format_number(row.ours)} {row.unit}"
    return [
        cell.strip()
        for cell in (row.what, row.case, plain, ours, ratio, target, verdict, row.beside)
    ]


def format_number(value: float) -> str:
    """Returns a number with three significant digits, without an exponent unless it is small."""
    if value and abs(value) < 1e-3 and math.isfinite(value):
        return f"{value:.2g}"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}"
