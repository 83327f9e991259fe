# SPDX-License-Identifier: GPL-2.0-only
"""Times of calls and of whole processes, and their ratios with targets."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from results import print_table

RUNS = 5
_START = """
import os, sys, time
start = time.perf_counter()
# As in an installation: the first start writes bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - start
print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts the timed process: its peak memory includes that of the process that started it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of wall time and of CPU time, and peak bytes of the largest process."""

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
    clock: Literal["wall", "cpu", "peak"] = "wall"

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
    """Time a call in this process and those it starts; its peak is that of this process."""
    # Reset the kernel's peak of resident memory.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    wall, cpu = time.perf_counter(), _cpu()
    work()
    took = time.perf_counter() - wall, _cpu() - cpu
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return Timing(*took, int(status.partition("VmHWM:")[2].split()[0]) * 1024)


def _cpu() -> float:
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def process(*command: object) -> Timing:
    """Time a whole process; its peak is that of the largest of its processes."""
    argv = [sys.executable, "-IS", "-c", _START, *map(str, command)]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(argv[4:])} failed: {done.stderr}")
    wall, cpu, peak = map(float, done.stdout.split())
    return Timing(wall, cpu, peak * 1024)


def best(*works: Callable[[], Timing], runs: int = RUNS) -> list[Timing]:
    """Run these in turn a few times, so that disturbances affect all; return the best times."""
    taken = [[work() for work in works] for _ in range(runs)]
    return [
        Timing(min(t.wall for t in of), min(t.cpu for t in of), max(t.peak for t in of))
        for of in zip(*taken, strict=True)
    ]


def show(lines: Sequence[Line]) -> None:
    """Print the lines as a table; ratios are of wall time where it does not say CPU or memory."""
    verdict = {True: "yes", False: "no", None: ""}
    print_table(
        ("work", "beside", "ratio", "of CPU", "bar", "met", "ours", "theirs", "MB", "their MB"),
        [
            (
                line.work,
                line.peer,
                f"{line.ratio:.2f}",
                f"{line.of('cpu'):.2f}" if line.clock == "wall" else "",
                "" if line.bar is None else f"{line.sense} {line.bar:g}",
                verdict[line.met],
                _seconds(line.ours, line.clock),
                _seconds(line.theirs, line.clock),
                _megabytes(line.ours),
                _megabytes(line.theirs),
            )
            for line in lines
        ],
        left=2,
    )


def _seconds(timing: Timing, clock: str) -> str:
    if clock == "peak":
        return ""
    seconds = timing.cpu if clock == "cpu" else timing.wall
    for unit, least in {"s": 1.0, "ms": 1e-3, "us": 1e-6}.items():
        if seconds >= least:
            return f"{seconds / least:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _megabytes(timing: Timing) -> str:
    return f"{timing.peak / 1e6:.0f}" if timing.peak else ""


def as_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the lines as they are written to json."""
    return [asdict(line) | {"ratio": line.ratio, "met": line.met} for line in lines]
