"""Times of calls and of whole processes, and ratios of them with what is asked of these."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from results import print_table

RUNS = 5
_START = """
import os, sys, time
start = time.perf_counter()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - start
print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts the process that is timed: the peak of one counts from that of what started it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that something took, of the wall's clock and of all processors, and MiB at most."""

    wall: float
    cpu: float
    peak: float


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison: `ratio` is how many times as fast ("at least"), or as long ("at most")."""

    work: str
    peer: str
    ours: Timing
    theirs: Timing
    sense: Literal["at least", "at most"]
    bar: float | None
    clock: Literal["wall", "cpu"] = "wall"

    @property
    def ratio(self) -> float:
        """The peer's time over ours for "at least", else ours over the peer's."""
        return self.of(self.clock)

    def of(self, clock: str) -> float:
        """Return the same ratio by another clock."""
        ours, theirs = getattr(self.ours, clock), getattr(self.theirs, clock)
        return float(theirs / ours if self.sense == "at least" else ours / theirs)

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without one."""
        if self.bar is None:
            return None
        return self.ratio >= self.bar if self.sense == "at least" else self.ratio <= self.bar


def here(work: Callable[[], object]) -> Timing:
    """Time a call in this process and those it starts."""
    wall, cpu = time.perf_counter(), _cpu()
    work()
    return Timing(time.perf_counter() - wall, _cpu() - cpu, 0)


def _cpu() -> float:
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def process(*command: object) -> Timing:
    """Time a whole process; its peak is that of the largest of its processes."""
    argv = [sys.executable, "-IS", "-c", _START, *map(str, command)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv[4:])} failed: {done.stderr}")
    wall, cpu, peak = map(float, done.stdout.split())
    return Timing(wall, cpu, peak / 1024)


def best(*works: Callable[[], Timing], runs: int = RUNS) -> list[Timing]:
    """Run these in turn a few times, so that what disturbs one disturbs all; return the best."""
    taken = [[work() for work in works] for _ in range(runs)]
    return [
        Timing(min(t.wall for t in of), min(t.cpu for t in of), max(t.peak for t in of))
        for of in zip(*taken, strict=True)
    ]


def show(lines: Sequence[Line]) -> None:
    """Print the lines as a table."""
    verdict = {True: "yes", False: "no", None: ""}
    print_table(
        ("work", "beside", "ratio", "of CPU", "bar", "met", "ours ms", "theirs ms", "peak MiB"),
        [
            (
                line.work,
                line.peer,
                f"{line.ratio:.2f}",
                f"{line.of('cpu'):.2f}",
                "" if line.bar is None else f"{line.sense} {line.bar:g}",
                verdict[line.met],
                f"{getattr(line.ours, line.clock) * 1e3:.3g}",
                f"{getattr(line.theirs, line.clock) * 1e3:.3g}",
                f"{line.ours.peak:.0f}" if line.ours.peak else "",
            )
            for line in lines
        ],
    )


def as_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the lines as they are written to json."""
    return [asdict(line) | {"ratio": line.ratio, "met": line.met} for line in lines]
