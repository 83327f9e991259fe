"""What is timed: our walk and commands, and the least that has to be done instead."""

import argparse
import sys
from collections.abc import Callable, Sequence

from drgn.helpers.linux.mm import for_each_page
from timing import Timing, process

from pageinspect import ranges
from pageinspect.classify.runs import Detail
from pageinspect.commands.walking import folded
from pageinspect.ranges import Range
from pageinspect.report.selection import Selection
from pageinspect.report.summary import Counts, count
from pageinspect.survey import Survey
from pageinspect.totals import Tally, TypeTally, UseTally

READ_ALL = """
import sys
from drgn import Program
prog = Program()
prog.set_enabled_debug_info_finders([])
prog.set_core_dump(sys.argv[1])
places = [int(place) for place in sys.argv[2:]]
for start, end in zip(places[::2], places[1::2]):
    for address in range(start, end, 1 << 21):
        prog.read(address, min(1 << 21, end - address))
"""
"""What a process does that only reads the vmemmap: argv is the core, and where that is."""


def pageinspect(*arguments: object) -> Callable[[], Timing]:
    """Return what times a command of ours."""
    return lambda: process(sys.executable, "-m", "pageinspect", *arguments)


def python(*arguments: object) -> Callable[[], Timing]:
    """Return what times another Python program."""
    return lambda: process(sys.executable, *arguments)


def walk(
    asked: Survey, by: Detail, n: int | None = None, wanted: Sequence[Range] | None = None
) -> None:
    """Do the walking part of `pageinspect summary --by BY -j N`, the kernel's books included."""
    spanned = asked.census.spanned if wanted is None else wanted
    selection = Selection(ranges.count(spanned))
    tally_of = TypeTally if by == "type" else UseTally

    def work(copy: Survey, piece: Sequence[Range]) -> tuple[Counts, Tally]:
        tally = tally_of(copy.layout)
        return count(
            copy.layout, selection, [by], tally.watch(copy.sections_in_runs(piece, by))
        ), tally

    total, tally = Counts(), tally_of(asked.layout)
    for part, tallied in folded(argparse.Namespace(jobs=n), asked, spanned, work):
        total.add(part)
        tally.merge(tallied)


def vmemmap(asked: Survey) -> list[tuple[int, int]]:
    """Return where the struct pages are, as (start, end) addresses."""
    base, size = asked.layout.vmemmap, asked.layout.struct_size
    return [(base + start * size, base + end * size) for start, end in asked.census.spanned]


def read_once(asked: Survey) -> None:
    """Read the vmemmap and nothing more, 2 MiB at a time."""
    for start, end in vmemmap(asked):
        for address in range(start, end, 1 << 21):
            asked.target.prog.read(address, min(1 << 21, end - address))


def drgn_loop(asked: Survey) -> None:
    """Do what a drgn script does: one object a page, one member read."""
    for page in for_each_page(asked.target.prog):
        page.page_type.value_()
