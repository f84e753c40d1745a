"""Where the work on many scenes is done: in processes of this machine, or on Apache Beam.

The work is one function, called for each scene: all that it needs is in it and in its argument, all
that it makes is on disk, whole, and what it returns is small. So it may be done anywhere, in any
order and twice, and every engine gives the same, up to the rounding of sums where a network runs on
another number of threads.
"""

import dataclasses
import json
import pathlib
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from mtml_tf import files, parallel

Item = TypeVar("Item")

POOL, BEAM = "pool", "beam"
ENGINES = (POOL, BEAM)
# Beam's own way to run on one machine. It is named: what Beam takes by default changes.
LOCAL_RUNNER = "--runner=FnApiRunner"


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where the work on many scenes is done.

    Attributes:
        engine: `pool` (processes of this machine) or `beam` (Apache Beam, which is installed by
            itself: see docs/scale.md).
        num_workers: processes of the pool; 0 for one a core, 1 for this one.
        beam_options: Beam's own options, such as "--runner=FlinkRunner --parallelism=64".

    Raises:
        ValueError: no such engine, a number of processes below 0, or options of the other engine.
    """

    engine: str = POOL
    num_workers: int = 0
    beam_options: str = ""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"expected --engine={' or '.join(ENGINES)}, found {self.engine}")
        if self.num_workers < 0:
            raise ValueError(f"expected --num_workers of at least 0, found {self.num_workers}")
        if self.beam_options and self.engine != BEAM:
            raise ValueError("expected --beam_options together with --engine=beam only")

    def check(self) -> None:
        """Raises ImportError without Apache Beam, ValueError for options it can't take."""
        if self.engine == BEAM:
            _beam_options(self.beam_options)

    def map(
        self,
        function: Callable[[Item], Any],
        items: Sequence[Item],
        what: str,
        shared_dir: str | pathlib.Path,
    ) -> Iterator[Any]:
        """Calls a function for each item and yields the results in the order of the items.

        Args:
            function: can be sent to another process, as its arguments can; a second call with the
                same one does no harm. Its results are values that JSON has.
            items: what to call it with.
            what: the noun to name the items by, such as "scenes".
            shared_dir: a folder that every worker of the engine sees; results pass through a new
                folder in it where there is no other way.

        Raises:
            ValueError: a process died, or Beam failed.
            ImportError: no Apache Beam.
        """
        if self.engine == BEAM:
            yield from _map_on_beam(function, items, what, shared_dir, self.beam_options)
        else:
            yield from parallel.map_processes(function, items, what, self.num_workers)


@dataclasses.dataclass(frozen=True)
class _Step:
    """Calls the function for an item and leaves the result in a file of the item's number."""

    function: Callable[[Any], Any]
    folder: str

    def __call__(self, numbered: tuple[int, Any]) -> None:
        number, item = numbered
        text = json.dumps(self.function(item))
        # Twice where Beam doubts that the first call has come to its end.
        files.write_text(_result_path(self.folder, number), text, overwrite=True)


def _map_on_beam(
    function: Callable[[Item], Any],
    items: Sequence[Item],
    what: str,
    shared_dir: str | pathlib.Path,
    options: str,
) -> Iterator[Any]:
    pipeline_options = _beam_options(options)
    import apache_beam

    pathlib.Path(shared_dir).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".beam.", dir=shared_dir) as folder:
        step = _Step(function, folder)
        try:
            with apache_beam.Pipeline(options=pipeline_options) as pipeline:
                numbered = pipeline | apache_beam.Create(list(enumerate(items)), reshuffle=True)
                _ = numbered | apache_beam.Map(step)
        except Exception as error:  # of any kind: runners have their own
            found = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(
                f"expected Apache Beam to work on {what}, found: {found[-1]}"
            ) from error
        for number, item in enumerate(items):
            path = _result_path(folder, number)
            if not path.exists():
                raise ValueError(
                    f"{shared_dir}: expected a folder that all of Beam's workers see, found no "
                    f"result of {item} there; choose one on a shared file system"
                )
            yield json.loads(files.read_text(path))


def _beam_options(options: str) -> Any:
    """Returns Beam's own options of a text."""
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ImportError(
            '--engine=beam needs Apache Beam; install it with pip install "mtml_tf[beam]" -c '
            "constraints-beam.txt, or leave --engine at pool"
        ) from error
    try:
        given = shlex.split(options)
    except ValueError as error:
        raise ValueError(
            f"--beam_options: expected options as a shell takes them, found {options} ({error})"
        ) from error
    if not any(option.startswith("--runner") for option in given):
        given.insert(0, LOCAL_RUNNER)
    return PipelineOptions(given)


def _result_path(folder: str, number: int) -> pathlib.Path:
    return pathlib.Path(folder, f"{number}.json")
