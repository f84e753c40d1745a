"""How long the stages of the path from a scan to its masks take.

A stage is timed where it runs (`with timing.stage("mean shift"):`), and only while somebody
records; stages do not lie within one another.
"""

import contextlib
import contextvars
import time
from collections.abc import Iterator, Mapping, Sequence

Seconds = dict[str, float]

OTHER = "other"

_recorded: contextvars.ContextVar[Seconds | None] = contextvars.ContextVar("stages", default=None)


@contextlib.contextmanager
def recording() -> Iterator[Seconds]:
    """Yields the seconds of each stage within the block, in the order in which they began.

    At the end of the block `OTHER` is added, what it took beside them.
    """
    seconds: Seconds = {}
    token = _recorded.set(seconds)
    start = time.perf_counter()
    try:
        yield seconds
    finally:
        _recorded.reset(token)
        seconds[OTHER] = time.perf_counter() - start - sum(seconds.values())


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Adds the wall-clock time of the block to a stage, where it is recorded."""
    seconds = _recorded.get()
    if seconds is None:
        yield
        return
    seconds.setdefault(name, 0.0)
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] += time.perf_counter() - start


def encode_table(before: Mapping[str, float], scenes: Sequence[Mapping[str, float]]) -> str:
    """Returns a Markdown table of seconds.

    Args:
        before: what happens once, such as imports and loading the model.
        scenes: the stages of each scene, in order. The first pays for tracing the network's graph
            and is shown apart; of the others the median is shown, stage by stage.
    """
    first, others = scenes[0] if scenes else {}, scenes[1:]
    lines = [f"| stage | first scene | median of {len(others)} more |", "| --- | ---: | ---: |"]
    lines += [f"| {name} (once) | {seconds:.2f} | |" for name, seconds in before.items()]
    names = list(dict.fromkeys(name for scene in scenes for name in scene))
    for name in names:
        rest = _median([scene.get(name, 0.0) for scene in others])
        lines.append(f"| {name} | {first.get(name, 0.0):.3f} | {rest} |")
    total = _median([sum(scene.values()) for scene in others])
    lines.append(f"| a scene in all | {sum(first.values()):.3f} | {total} |")
    return "\n".join(lines) + "\n"


def _median(values: Sequence[float]) -> str:
    if not values:
        return ""
    ordered, half = sorted(values), len(values) // 2
    middle = ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return f"{middle:.3f}"
