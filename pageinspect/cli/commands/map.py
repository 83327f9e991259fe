# SPDX-License-Identifier: GPL-2.0-only
"""Draw a map of memory: by use, type, owner or order, as image or in the terminal.

Memory is divided into cells of 2 MiB, in rows of 1 GiB with the pfn at their edges. A cell has the
colour of most of its pages: full if they are at least 90 % of the cell, in part pale if not. The
legend has the number of pages of each name, whose colour is the same in every map. Without -o the
map is written to the terminal, in the colours that it has (NO_COLOR, COLORTERM, TERM), and as
letters where there are none. With --diff there are two maps of the same scale: colours are as full
as cells changed, and what did not change is pale.
"""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import Exit, UsageError
from ...host.terminal import say
from ..options import add_mode_argument, add_target_arguments
from ..snapshots import snapshot_of, snapshot_of_target
from ..walking import add_jobs_argument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...model.ranges import Range
    from ...model.saved_kernel import SavedKernel
    from ...model.snapshot import Snapshot
    from ...picture.maps import MapChoice

_BY = ("use", "type", "owner", "order", "free", "migratetype")
_MOST_IN_IMAGE = 1 << 24
_MOST_IN_TEXT = 1 << 20
"""Cells of an image that has a pixel for each, and of one that has text for each."""
_IMAGES = (".png", ".svg", ".html")
_SIZES = {"K": 10, "M": 20, "G": 30}
_LEAST_CELL, _LARGEST_CELL = 12, 30
_TABLES = ("runs", "owners")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_target_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write an image, whose kind the name says: .png, .svg or .html. Default: text for the "
        "terminal",
    )
    add_mode_argument(parser)
    group = parser.add_argument_group("map")
    group.add_argument(
        "--by",
        choices=_BY,
        default="use",
        metavar="K",
        help="what colours stand for: use (the default), type, owner (its kind), order (of folios "
        "in use), free (the order of free blocks: shows fragmentation) or migratetype. Orders have "
        "the groups 0, 1-3, 4-8, 9 (a huge page), and 10 and more",
    )
    group.add_argument(
        "--diff",
        metavar="OTHER",
        help="draw the change from OTHER, written as TARGET is, to the target",
    )
    group.add_argument(
        "--pfn",
        action="append",
        default=[],
        metavar="RANGE",
        help="draw only these pfns, as `pageinspect list --pfn` takes them. May be repeated",
    )
    group.add_argument(
        "--cell",
        type=_cell,
        metavar="SIZE",
        help="memory of each cell: a power of two from 4K, which is one page, to 1G (default: 2M, "
        "or less for few pages)",
    )
    group.add_argument(
        "--hilbert",
        action="store_true",
        help="draw a Hilbert curve instead of rows: pages that are near in memory are near in the "
        "picture",
    )
    group.add_argument(
        "--theme",
        choices=("light", "dark"),
        help="the background of the map (default: light in images, dark in the terminal)",
    )
    add_jobs_argument(parser)


def _cell(text: str) -> int:
    """Type of --cell: log2 of the pages of a cell."""
    match = re.fullmatch(r"([0-9]{1,4})([KMG])(?:iB|B)?", text, re.IGNORECASE)
    n = int(match[1]) << _SIZES[match[2].upper()] if match else 0
    shift = n.bit_length() - 1
    if n & (n - 1) or not _LEAST_CELL <= shift <= _LARGEST_CELL:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the size of a cell: a power of two from 4K to 1G, such as 64K"
        )
    return shift - _LEAST_CELL


def run(args: argparse.Namespace) -> int:
    """Draw a map."""
    _check(args)
    from ...model.range_text import check_syntax
    from ..output import check_output

    check_syntax(args.pfn)
    check_output(args.output, args.mode)
    if args.output is not None and args.output.suffix.lower() == ".png":
        from ...picture.png import library

        # If it is missing, this is found out before anything is read.
        library()
    snapshots, sources = _snapshots(args)
    from ...picture.maps import MapChoice
    from ...saved.kernel import kernel_of

    kernels = [kernel_of(snapshot) for snapshot in snapshots]
    choice = MapChoice(
        by=args.by, wanted=_wanted(args.pfn, snapshots, kernels), shift=args.cell,
        hilbert=args.hilbert,
    )  # fmt: skip
    if args.output is None:
        _write_text(args, snapshots, sources, choice)
    else:
        _write_image(args, snapshots, sources, choice)
    return _status(args.by, snapshots, kernels)


def _check(args: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense together."""
    if args.output is not None and args.output.suffix.lower() not in _IMAGES:
        raise UsageError(
            f"the name of {args.output} does not say which kind of image it is to be",
            f"end it in {', '.join(_IMAGES)}",
        )


def _snapshots(args: argparse.Namespace) -> "tuple[list[Snapshot], list[str]]":
    """Return one snapshot, or those before and after, and what the user calls them."""
    last, source = snapshot_of_target(args, _TABLES), getattr(args, "target_text", None) or ""
    if args.diff is None:
        return [last], [source]
    from ...analysis.comparable import check_comparable

    first = snapshot_of(args, args.diff, _TABLES)
    check_comparable(first, last)
    return [first, last], [args.diff, source]


def _wanted(
    texts: "Sequence[str]", snapshots: "Sequence[Snapshot]", kernels: "Sequence[SavedKernel]"
) -> "tuple[Range, ...] | None":
    """Return the pfns of the user's ranges that a snapshot has; None for all."""
    if not texts:
        return None
    from ...analysis.comparable import runs_table, spans
    from ...model.memory_map import MemoryMap
    from ...model.range_text import resolve
    from ...model.ranges import merge

    spanned = merge(r for s in snapshots for r in spans(runs_table(s, "a map")))
    last = kernels[-1]
    return tuple(resolve(texts, MemoryMap(tuple(spanned), last.zones), last.page_shift))


def _write_text(
    args: argparse.Namespace,
    snapshots: "Sequence[Snapshot]",
    sources: "Sequence[str]",
    choice: "MapChoice",
) -> None:
    import os
    import shutil
    import sys
    from dataclasses import replace

    from ...picture.colours import THEMES
    from ...picture.maps import map_of
    from ...picture.terminal import TextStyle, colour_depth, has_blocks, room_for, text_lines
    from ..options import write_text

    out = sys.stdout
    depth = colour_depth(os.environ, is_terminal=out is not None and out.isatty())
    blocks = has_blocks(getattr(out, "encoding", None))
    style = TextStyle(depth, blocks, shutil.get_terminal_size().columns)
    choice = replace(choice, room=room_for(style))
    picture = map_of(snapshots, sources, choice, _MOST_IN_TEXT)
    lines = text_lines(picture, THEMES[args.theme or "dark"], style)
    write_text(args, "".join(f"{line}\n" for line in lines))


def _write_image(
    args: argparse.Namespace,
    snapshots: "Sequence[Snapshot]",
    sources: "Sequence[str]",
    choice: "MapChoice",
) -> None:
    from ...picture.colours import THEMES
    from ...picture.maps import map_of
    from ...picture.png import write_png
    from ...picture.scene import scene_of
    from ...picture.svg import html_lines, svg_lines
    from ..output import open_output

    suffix = args.output.suffix.lower()
    most = _MOST_IN_IMAGE if suffix == ".png" else _MOST_IN_TEXT
    scene = scene_of(map_of(snapshots, sources, choice, most), THEMES[args.theme or "light"])
    if suffix == ".png":
        with open_output(args.output, binary=True, mode=args.mode) as image:
            write_png(scene, image)
        return
    lines = svg_lines if suffix == ".svg" else html_lines
    with open_output(args.output, mode=args.mode) as text:
        text.writelines(lines(scene))


def _status(by: str, snapshots: "Sequence[Snapshot]", kernels: "Sequence[SavedKernel]") -> int:
    """Return the exit status, and report what is missing."""
    missing = [sentence for k in kernels if by == "owner" for sentence in k.missing["owners"]]
    for sentence in dict.fromkeys(missing):
        say(sentence)
    unreadable = any(snapshot.header("unreadable") for snapshot in snapshots)
    lacking = any(not k.provenance.is_whole or k.unavailable for k in kernels)
    return int(Exit.INCOMPLETE if missing or unreadable or lacking else Exit.COMPLETE)
