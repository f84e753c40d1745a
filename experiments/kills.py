"""SIGKILL at any moment: `python -m experiments.kills --num_kills=50`

Preparation, training, prediction and export are started again and again in one folder, each time
killed with all their processes: three times of four as one of the changes of their files is seen,
else at a moment drawn from the time that they take undisturbed. Afterwards all that they have
written must be whole or absent, nothing that was there may be gone, and once they are left alone
they must come to the same end to the bit.
"""

import dataclasses
import pathlib
import random
import shutil
import statistics
import tempfile
from collections.abc import Callable

from absl import flags, logging

from experiments import four_programs
from experiments.four_programs import Ended, Found, Program
from experiments.running import encode_markdown
from mtml_tf import program

FLAGS = flags.FLAGS

_HEADS = ["program", "kills", "after, % of its writes", "lost", "broken", "ended the same"]


@dataclasses.dataclass
class Count:
    """What became of one program.

    Attributes:
        shares: of the changes of files in an undisturbed start, how many a kill came after.
        lost: kills after which something was gone that had been there.
        broken: kills after which something was in part, or another than it should be.
        ends: starts that nobody killed, after some that were.
        same: those of them that came to the same end.
        faults: what was wrong, a sentence each.
    """

    shares: list[float] = dataclasses.field(default_factory=list)
    lost: int = 0
    broken: int = 0
    ends: int = 0
    same: int = 0
    faults: list[str] = dataclasses.field(default_factory=list)

    def row(self, name: str) -> list[str]:
        """Returns a row of the table."""
        low, middle, high = min(self.shares), statistics.median(self.shares), max(self.shares)
        when = f"{100 * low:.0f} to {100 * high:.0f}, median {100 * middle:.0f}"
        counts = [str(len(self.shares)), when, str(self.lost), str(self.broken)]
        return [name, *counts, f"{self.same} of {self.ends}"]


def draw_moment(whole: Ended, rng: random.Random) -> Callable[[float, int], bool]:
    """Returns whether a moment has come, drawn by time or by the changes of files."""
    by_time, first = rng.random() < 0.25, rng.uniform(0, whole.seconds)
    change, later = rng.randint(1, whole.changes), rng.uniform(0, 0.02)
    seen: list[float] = []

    def has_come(seconds: float, changes: int) -> bool:
        if by_time:
            return seconds >= first
        if changes >= change:
            seen.append(seconds)
        return bool(seen) and seconds >= seen[0] + later

    return has_come


def try_program(
    victim: Program, place: pathlib.Path, num_kills: int, in_a_row: int, rng: random.Random
) -> Count:
    """Kills a program so many times, at most `in_a_row` times before it may come to its end."""
    undisturbed = place / "undisturbed" / "output"
    undisturbed.parent.mkdir(parents=True)
    whole = victim.start(undisturbed)
    if whole.status or not whole.changes:
        raise ValueError(f"{victim.name}: expected it to write, found it say:\n{whole.told}")
    # From what was there before, and from nothing.
    whole_ends = victim.read(victim.whole), victim.read(undisturbed)
    count, number = Count(), 0
    while len(count.shares) < num_kills:
        output = place / str(number) / "output"
        output.parent.mkdir(parents=True)
        whole_end = whole_ends[number % 2]
        if number % 2 == 0:
            shutil.copytree(victim.before, output)
        ended, done = None, victim.read(output).done
        for _ in range(min(in_a_row, num_kills - len(count.shares))):
            ended = victim.start(output, draw_moment(whole, rng), four_programs.kill)
            if ended.status != -9:
                break
            count.shares.append(ended.changes / whole.changes)
            done = check(victim, output, done, whole_end, count)
        if ended is None or ended.status == -9:
            ended = victim.start(output)
        _check_end(victim, output, ended, whole_end, count)
        shutil.rmtree(output.parent)
        number += 1
    return count


def check(victim: Program, output: pathlib.Path, done: int, whole: Found, count: Count) -> int:
    """Looks at what a kill has left; returns how much of the work is done."""
    try:
        found = victim.read(output)
    except (ValueError, OSError) as error:
        count.broken += 1
        count.faults.append(f"{victim.name}: {error}")
        return done
    if other := [n for n, part in whole.parts.items() if found.parts.get(n, part) != part]:
        count.broken += 1
        count.faults.append(f"{victim.name}: {other[0]} is another than undisturbed")
    if found.done < done:
        count.lost += 1
        count.faults.append(f"{victim.name}: {done} were done, {found.done} are left")
    return found.done


def _check_end(
    victim: Program, output: pathlib.Path, ended: Ended, whole: Found, count: Count
) -> None:
    count.ends += 1
    try:
        if ended.status == 0 and victim.read(output) == whole:
            count.same += 1
            return
        count.faults.append(f"{victim.name}: status {ended.status}, {ended.told[-2000:]}")
    except (ValueError, OSError) as error:
        count.faults.append(f"{victim.name}: {error}")


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_integer("num_kills", 50, "Of all four programs together.", lower_bound=4)
    flags.DEFINE_integer("in_a_row", 3, "Kills before a start that nobody kills.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Draws the moments.", lower_bound=0)


def main() -> None:
    """Tries each program and prints a table."""
    logging.set_verbosity(logging.WARNING)  # not what is read on the way
    rng = random.Random(FLAGS.seed)
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        for victim in four_programs.make_programs(place):
            num_kills = -(-FLAGS.num_kills // 4)
            counts[victim.name] = try_program(
                victim, place / victim.name, num_kills, FLAGS.in_a_row, rng
            )
    print(encode_markdown([_HEADS, *(count.row(name) for name, count in counts.items())]))
    faults = [fault for count in counts.values() for fault in count.faults]
    if faults:
        raise ValueError("expected all to survive, found:\n" + "\n".join(faults))


if __name__ == "__main__":
    define_flags()
    program.run(main)
