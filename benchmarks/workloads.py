# SPDX-License-Identifier: GPL-2.0-only
"""Workloads that are timed: our walk and commands, and the least work to compare them with."""

import argparse
import sys
from collections.abc import Callable, Sequence

from drgn.helpers.linux.mm import for_each_page
from timing import Timing, process

from pageinspect.analysis.totals import Tally, TypeTally, UseTally
from pageinspect.classify.details import Detail
from pageinspect.cli.walking import fold_pieces
from pageinspect.inspector.inspector import Inspector
from pageinspect.model import ranges
from pageinspect.model.ranges import Range
from pageinspect.report.selection import Selection
from pageinspect.report.summary import PageCounts, count

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
"""Program that only reads the vmemmap: argv is the core, and the address ranges."""


def pageinspect(*arguments: object) -> Callable[[], Timing]:
    """Return a function that times a command of pageinspect."""
    return lambda: process(sys.executable, "-m", "pageinspect", *arguments)


def python(*arguments: object) -> Callable[[], Timing]:
    """Return a function that times another Python program."""
    return lambda: process(sys.executable, *arguments)


def walk(
    asked: Inspector, by: Detail, n: int | None = None, wanted: Sequence[Range] | None = None
) -> None:
    """Do the walking part of `pageinspect summary --by BY -j N`, counter checks included."""
    spanned = asked.memory_map.spanned if wanted is None else wanted
    selection = Selection(ranges.count(spanned))
    tally_of = TypeTally if by == "type" else UseTally

    def work(copy: Inspector, piece: Sequence[Range]) -> tuple[PageCounts, Tally]:
        tally = tally_of(copy.layout)
        return count(
            copy.layout, selection, [by], tally.watch(copy.sections_in_runs(piece, by))
        ), tally

    total, tally = PageCounts(), tally_of(asked.layout)
    for part, tallied in fold_pieces(argparse.Namespace(jobs=n), asked, spanned, work):
        total.add(part)
        tally.merge(tallied)


def vmemmap(asked: Inspector) -> list[tuple[int, int]]:
    """Return where the struct pages are, as (start, end) addresses."""
    base, size = asked.layout.vmemmap, asked.layout.struct_size
    return [(base + start * size, base + end * size) for start, end in asked.memory_map.spanned]


def read_once(asked: Inspector) -> None:
    """Read the vmemmap and nothing more, 2 MiB at a time."""
    for start, end in vmemmap(asked):
        for address in range(start, end, 1 << 21):
            asked.target.prog.read(address, min(1 << 21, end - address))


def drgn_loop(asked: Inspector) -> None:
    """Do what a drgn script does: one object per page, one member read."""
    for page in for_each_page(asked.target.prog):
        page.page_type.value_()
