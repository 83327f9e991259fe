# SPDX-License-Identifier: GPL-2.0-only
"""Write /proc/kpageflags and /proc/kpagecount, computed from a core or this kernel.

The files have the same bytes and the same length as those of the kernel: one unsigned 64-bit number
for each pfn from 0 on. The kernel's tool page-types reads them with -F FILE. The zeros of pfns
without a page are holes in the file. Struct pages that cannot be read get KPF_NOPAGE and count 0,
and their number is reported on stderr.
"""

import argparse
import contextlib
import itertools
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ...errors import Exit, UsageError
from ...host.terminal import write_line
from ...units import counted
from ..options import add_mode_argument, add_target_arguments, open_target, read_errors
from ..output import check_output, is_same_output, open_output
from ..walking import add_jobs_argument, fold_pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...analysis.kpageflags import Piece
    from ...inspector.inspector import Inspector
    from ...model.ranges import Range

_KSM = {"exact": "merged ones", "any-anon": "all anonymous ones"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_target_arguments(parser)
    group = parser.add_argument_group("files (at least one; written completely or not at all)")
    group.add_argument(
        "--kpageflags", type=Path, metavar="FILE", help="write FILE as /proc/kpageflags has it"
    )
    group.add_argument(
        "--kpagecount", type=Path, metavar="FILE", help="write FILE as /proc/kpagecount has it"
    )
    add_mode_argument(group)
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write the files."""
    from ...inspector.inspector import inspect

    paths: list[Path | None] = [args.kpageflags, args.kpagecount]
    named = [path for path in paths if path is not None]
    if not named:
        raise UsageError("nothing to write", "give --kpageflags FILE, --kpagecount FILE or both")
    for path in named:
        check_output(path, args.mode)
    if len(named) == 2 and is_same_output(*named):
        raise UsageError("both files have the same name", "give two different names")
    opened = inspect(open_target(args))
    with contextlib.ExitStack() as stack:
        flags, counts = (
            None
            if path is None
            else stack.enter_context(open_output(path, binary=True, mode=args.mode))
            for path in paths
        )
        unreadable = _write(args, opened, flags, counts)
    if unreadable:
        pages = counted(unreadable, "struct page")
        write_line(f"{pages} could not be read: KPF_NOPAGE, count 0")
    return int(Exit.INCOMPLETE if unreadable else Exit.COMPLETE)


def _write(
    args: argparse.Namespace,
    opened: "Inspector",
    flags: IO[bytes] | None,
    counts: IO[bytes] | None,
) -> int:
    """Write what is asked for and return how many struct pages could not be read."""
    from ...analysis import kpageflags
    from ...host.progress import paced
    from ...kernel.kpageflags_rules import build_rules, check_length, find_online
    from ...model.ranges import count, intersect
    from ..sparse_files import check_room, end_sparse, write_sparse

    prog, memory_map = opened.target.prog, opened.memory_map
    rules = build_rules(prog, opened.layout)
    if flags is not None and rules.inferred_from:
        write_line(
            "the code of stable_page_flags() does not show which pages have KPF_KSM: "
            f"{_KSM[rules.ksm]} here, inferred from {rules.inferred_from}"
        )
    end = kpageflags.length(memory_map)
    check_length(prog, end)
    online = find_online(prog, end)
    wanted = intersect(online.ranges, [(0, end)])
    unreadable = 0

    def work(inspector: "Inspector", piece: "Sequence[Range]") -> "list[tuple[int, Piece]]":
        pages = inspector.sections(piece)
        return [kpageflags.entries(rules, online, end, batch) for batch in pages]

    files = [stream for stream in (flags, counts) if stream is not None]
    filled = [end if stream is flags and rules.hole else count(wanted) for stream in files]
    check_room(files, [8 * entries for entries in filled])
    parts = itertools.chain.from_iterable(fold_pieces(args, opened, wanted, work))
    for piece in paced(read_errors(kpageflags.pieces(rules, end, parts))):
        if flags is not None:
            write_sparse(flags, piece.flags.tobytes())
        if counts is not None:
            write_sparse(counts, piece.counts.tobytes())
        unreadable += piece.unreadable
    for stream in files:
        end_sparse(stream)
    return unreadable
