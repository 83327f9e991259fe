# SPDX-License-Identifier: GPL-2.0-only
"""What the commands that walk pages share: options, selection, progress and exit status."""

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING, TypeVar

from ..errors import Exit
from .arguments import names, whole_number
from .options import add_output_arguments, add_target_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from ..inspector.inspector import Inspector
    from ..model.ranges import Range
    from ..report import Coverage
    from ..report.selection import Request


_MOST_JOBS = 1024
_MOST_SECTIONS = 16
"""Per piece of work: the listing of a piece whose pages all differ takes 20 MB."""
_WORTH_A_PROCESS = 1 << 20
"""With fewer pages of a compressed core, one process is faster than starting more; without
decompression the limit is twice as high."""

Result = TypeVar("Result")


def add_pfn_argument(
    parser: argparse.ArgumentParser, *, metrics: bool = False
) -> "argparse._ArgumentGroup":
    """Add the target, --pfn and the output options; return the group that selects pages."""
    add_target_arguments(parser)
    group = parser.add_argument_group("which pages (default: all)")
    add_output_arguments(parser, metrics=metrics)
    group.add_argument(
        "--pfn",
        action="append",
        default=[],
        metavar="RANGE",
        help="only these pfns: START-END or START,END (without END), START+COUNT, or one pfn. With "
        "phys: the numbers are physical addresses, and may end in K, M, G or T "
        "(phys:0x40000000+2M). zone:NAME and node:N are the pfns that a zone or node spans. May be "
        "repeated",
    )
    return group


def add_walking_arguments(parser: argparse.ArgumentParser, *, metrics: bool = False) -> None:
    """Add the target, all that selects pages, and the output options."""
    group = add_pfn_argument(parser, metrics=metrics)
    group.add_argument(
        "--type",
        type=names,
        default=(),
        metavar="T,…",
        help="only pages of these types (see `pageinspect types`), or untyped",
    )
    group.add_argument(
        "--use",
        type=names,
        default=(),
        metavar="U,…",
        help="only pages of these uses: buddy, pcp, anon, file, kernel, … or a page type",
    )
    group.add_argument(
        "--owner",
        action="append",
        default=[],
        metavar="KIND[:NAME]",
        help="only pages of this owner, with the names that `pageinspect owners` shows: slab, "
        "slab:dentry, 'file:/usr/lib/*'. * stands for any text. May be repeated",
    )


def request_of(args: argparse.Namespace, *, freeing: bool = False) -> "Request":
    """Return the pages that the options of add_walking_arguments() ask for."""
    from ..report.selection import Request

    return Request(args.pfn, args.type, args.use, args.owner, freeing)


def add_jobs_argument(parser: argparse.ArgumentParser) -> None:
    """Add -j."""
    parser.add_argument(
        "-j",
        "--jobs",
        type=whole_number("a number of processes", 1, _MOST_JOBS),
        metavar="N",
        help="number of processes that read pages (default: one per processor, or one if memory is "
        "small). With 1, pages are read only through drgn. A guest that is read through its "
        "monitor always has one",
    )


def fold_pieces(
    args: argparse.Namespace,
    inspector: "Inspector",
    wanted: "Sequence[Range]",
    work: "Callable[[Inspector, Sequence[Range]], Result]",
    *,
    streamed: bool = False,
) -> "Iterator[Result]":
    """Yield the results of `work` for pieces of the wanted pfns, in order.

    Large memory is divided among the processes of -j, which work on copies of `inspector`.
    """
    from ..inspector import fold
    from ..model import ranges
    from ..model.arch import SECTION_PFNS
    from . import parallel

    guest = inspector.target.provenance.guest
    # A monitor answers one process.
    alone = guest is not None and guest.denied
    n = 1 if alone else args.jobs or parallel.available()
    total = ranges.count(wanted)
    # -j 1 reads only through drgn: the reference that the faster ways are tested against.
    copy = inspector if args.jobs == 1 else inspector.mapping()
    packed = copy.mapped is None and inspector.target.provenance.source == "core"
    worth = _WORTH_A_PROCESS if packed else 2 * _WORTH_A_PROCESS
    if args.jobs is None and total < worth:
        n = 1
    if n == 1:
        # Small pieces, so that the progress bar moves while a slow target is read.
        sections = fold.SECTIONS_READ if copy.mapped is None else _MOST_SECTIONS
    else:
        sections = min(max(total // SECTION_PFNS // (4 * n), 1), _MOST_SECTIONS)
    pieces = ranges.cut(wanted, sections * SECTION_PFNS)
    results: Generator[Result, None, None]
    if n == 1:
        results = (work(copy, piece) for piece in pieces)
    else:
        results = parallel.in_order(lambda piece: work(copy, piece), pieces, n)
    with contextlib.closing(results):
        parts = zip(map(ranges.count, pieces), results, strict=True)
        yield from _with_bar(wanted, parts, between=streamed and _on_terminal(args))


def _on_terminal(args: argparse.Namespace) -> bool:
    """Return whether the report is written to a terminal."""
    return args.output is None and sys.stdout is not None and sys.stdout.isatty()


def _with_bar(
    wanted: "Sequence[Range]", parts: "Iterable[tuple[int, Result]]", *, between: bool
) -> "Iterator[Result]":
    """Yield the results of parts, which are (pages, result).

    On a terminal, a bar shows after a second how many pages there are, their rate and the time
    left. It is cleared for text that is written `between` results.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield from (result for _, result in parts)
        return
    from tqdm import tqdm

    from ..model.ranges import count

    # Disable its monitor thread: processes are forked while the bar exists.
    tqdm.monitor_interval = 0
    with tqdm(
        total=count(wanted),
        unit=" pages",
        unit_scale=True,
        desc="walking",
        leave=False,
        delay=1,
        miniters=1,
        mininterval=0 if between else 0.1,
        file=sys.stderr,
    ) as bar:
        for pages, result in parts:
            if between and bar.last_print_t > bar.start_t:
                bar.clear()
            yield result
            bar.update(pages)


def status(coverage: "Coverage") -> Exit:
    """Return the exit status of a report with this coverage."""
    return Exit.COMPLETE if coverage.complete else Exit.INCOMPLETE
