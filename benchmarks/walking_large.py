# SPDX-License-Identifier: GPL-2.0-only
"""Cores of large machines: times the command and plain reads, and how the walk grows."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

from owners import owner_commands
from timing import Line, Timing, best, here
from workloads import READ_ALL, pageinspect, python, vmemmap, walk

from pageinspect.inspector.inspector import inspect
from pageinspect.target.open import open_target

MOST = Timing(0, 0, 400e6)
"""Peak memory allowed for each process."""
LARGE = 128 << 18
"""From this many pages on, the command must take no longer than one process that only reads."""
OWNERS_BAR = 1.5
"""How many times as long as `summary --by use` owners may take from there on."""


def large_cores(cores: list[Path], runs: int) -> list[Line]:
    """Compare on each core, and the walk of the largest with those of the others."""
    lines, grown = [], {}
    for core in cores:
        pages, places, grown_to = _alone(core, runs)
        grown[pages] = grown_to
        summary = pageinspect("summary", "--by", "use", "-c", core)
        summary()
        ours, reading = best(summary, python("-c", READ_ALL, core, *places), runs=runs)
        read = "one process, prog.read() of the vmemmap"
        work = f"summary --by use, {pages:,} pages"
        lines += [
            Line(work, read, ours, reading, "at most", 1.0 if pages >= LARGE else None),
            Line(f"{work}, memory", "400 MB", ours, MOST, "at most", 1.0, "peak"),
        ]
        owners = owner_commands(core, OWNERS_BAR if pages >= LARGE else None, runs)
        lines += [replace(line, work=f"{line.work}, {pages:,} pages") for line in owners]
        lines.append(
            Line(f"{owners[0].work}, memory", "400 MB", owners[0].ours, MOST, "at most", 1, "peak")
        )
    return lines + growth(grown)


def _alone(core: Path, runs: int) -> tuple[int, list[int], Timing]:
    """Walk a core in its own process, so that its peak memory is that of the walk."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        return apart.submit(_walk, core, runs).result()


def _walk(core: Path, runs: int) -> tuple[int, list[int], Timing]:
    asked = inspect(open_target(core))
    (took,) = best(lambda: here(lambda: walk(asked, "use", 1)), runs=runs)
    return asked.memory_map.spanned_pages, list(chain.from_iterable(vmemmap(asked))), took


def growth(grown: dict[int, Timing]) -> list[Line]:
    """Compare the walk of the most pages with that of fewer: time per page, and total memory."""
    lines = []
    for pages in sorted(grown)[:-1]:
        most = max(grown)
        whole, part = (
            Timing(grown[n].wall / n, grown[n].cpu / n, grown[n].peak) for n in (most, pages)
        )
        work, peer = f"walk, per page of {most:,}", f"per page of {pages:,}"
        lines += [
            Line(f"{work}, CPU", peer, whole, part, "at most", 1.15, "cpu"),
            Line(
                f"walk of {most:,}, memory", f"of {pages:,}", whole, part, "at most", 1.15, "peak"
            ),
        ]
    return lines
