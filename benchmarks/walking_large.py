"""Cores of large machines: the whole command beside reading, and how the walk grows with memory."""

import itertools
from pathlib import Path

from timing import Line, Timing, best, here
from works import READ_ALL, pageinspect, python, vmemmap, walk

from pageinspect.survey import survey
from pageinspect.target import open_target

MOST = Timing(0, 0, 400e6)
"""What each process may take."""


def large_cores(cores: list[Path], runs: int) -> list[Line]:
    """Compare on each core, and the walk of the largest with those of the others."""
    lines, grown = [], {}
    for core in cores:
        asked = survey(open_target(core))
        pages = asked.census.spanned_pages
        places = list(itertools.chain.from_iterable(vmemmap(asked)))
        summary = pageinspect("summary", "--by", "use", "-c", core)
        summary()
        ours, reading = best(summary, python("-c", READ_ALL, core, *places), runs=runs)
        read = "one process, prog.read() of the vmemmap"
        work = f"summary --by use, {pages:,} pages"
        lines += [
            Line(work, read, ours, reading, "at most", 1.0),
            Line(f"{work}, memory", "400 MB", ours, MOST, "at most", 1.0, "peak"),
        ]
        (grown[pages],) = best(lambda asked=asked: here(lambda: walk(asked, "use", 1)), runs=runs)  # type: ignore[misc]
    return lines + growth(grown)


def growth(grown: dict[int, Timing]) -> list[Line]:
    """Compare the walk of the most pages with that of fewer: time a page, and memory in all."""
    most = max(grown)
    lines = []
    for pages in sorted(set(grown) - {most}):
        whole, part = (
            Timing(grown[n].wall / n, grown[n].cpu / n, grown[n].peak) for n in (most, pages)
        )
        work, peer = f"walk, a page of {most:,}", f"a page of {pages:,}"
        lines += [
            Line(f"{work}, CPU", peer, whole, part, "at most", 1.15, "cpu"),
            Line(f"{work}, memory", peer, whole, part, "at most", 1.15, "peak"),
        ]
    return lines
