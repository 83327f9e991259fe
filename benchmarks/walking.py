# SPDX-License-Identifier: GPL-2.0-only
"""Compares the speed of pageinspect with other tools, as ratios: `make bench`.

Boots a guest of the newest kernel, times the walk in it, dumps it, and times what
docs/performance.md lists: other tools in turn with ours, the best of a few runs each, files in the
page cache. --large FILE adds the core of a large machine, made by large_core.py, and how time grows
with memory.
"""

import argparse
import os
import shutil
import sys
import tempfile
from itertools import chain
from pathlib import Path

from owners import loop_over_pages, owner_commands, owner_parts
from process_tables import FILL as PROCESSES
from process_tables import process_lines
from results import write_json
from timing import RUNS, Line, as_json, best, here, process, show
from walking_large import large_cores
from walking_live import live
from workloads import READ_ALL, pageinspect, python, read_once, vmemmap, walk

from pageinspect.cli import parallel
from pageinspect.inspector.inspector import Inspector, inspect
from pageinspect.target.open import open_target
from pageinspect.vm.catalogue import kernel
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import built

CRASH_READS = "6.1"
"""A kernel that crash of Debian 12 and 13 can read; it cannot read the newest."""
MEMORY = "4G"
OWNERS_BAR = 2.5
"""How many times as long as `summary --by use` owners may take, on a core of this size."""
FILL = """
modprobe zram && echo 64M > /sys/block/zram0/disksize
dd if=/dev/urandom of=/dev/zram0 bs=1M count=32 2> /dev/null
echo 8 > /proc/sys/vm/nr_hugepages
find / -xdev -type f -size -64k -exec cat {} + > /dev/null 2>&1
true
"""
"""What the guest does before it is dumped, so that not all of its memory is free."""
_FILL_TIMEOUT_S = 900.0


def walking_parts(asked: Inspector, runs: int) -> list[Line]:
    """Compare the walking part alone, in the one process that has the core open."""
    loop = loop_over_pages(asked)
    read, by_use, by_type = best(
        lambda: here(lambda: read_once(asked)),
        lambda: here(lambda: walk(asked, "use")),
        lambda: here(lambda: walk(asked, "type")),
        runs=runs,
    )
    use, type_, reading = "walk --by use", "walk --by type", "prog.read() of the vmemmap"
    return [
        Line(use, "for_each_page(), one member", by_use, loop, "at least", 20),
        Line(use, reading, by_use, read, "at least", 0.6),
        Line(type_, reading, by_type, read, "at least", 1.0),
        *owner_parts(asked, loop, runs),
    ]


def whole_processes(core: Path, asked: Inspector, runs: int) -> list[Line]:
    """Compare commands from their start to their end."""
    places = chain.from_iterable(vmemmap(asked))
    summary = pageinspect("summary", "--by", "use", "-c", core)
    with tempfile.TemporaryDirectory() as folder:
        summary()  # Fills the cache of types and symbols.
        ours, reading, listing, plain_help, parser = best(
            summary,
            python("-c", READ_ALL, core, *places),
            pageinspect("list", "-c", core, "-o", Path(folder) / "runs"),
            pageinspect("--help"),
            python("-c", "import argparse"),
            runs=runs,
        )
    read = "python with drgn, prog.read() of the vmemmap"
    return [
        Line("summary --by use", read, ours, reading, "at most", 3),
        Line("list to a file", "summary --by use", listing, ours, "at most", 3),
        Line("--help", "python -c 'import argparse'", plain_help, parser, "at most", 3, "cpu"),
    ]


def one_page(core: Path, runs: int) -> list[Line]:
    """Compare asking for one page with the start of drgn's command line."""
    ready = built(kernel("newest"))
    if ready is None or ready.vmlinux is None:
        print("no drgn with vmlinux: pageinspect vm build newest --debuginfo", file=sys.stderr)
        return []
    page = pageinspect("page", "0x1000", "-c", core)
    page()
    drgn = python("-m", "drgn", "-q", "-c", core, "-s", ready.vmlinux, "-e", "0")
    ours, theirs = best(page, drgn, runs=runs)
    peer = "drgn's command line with vmlinux"
    return [Line("page, the second time", peer, ours, theirs, "at most", 0.5)]


def beside_crash(runs: int) -> list[Line]:
    """Compare asking for one page with the start of crash, on a core that it reads."""
    ready, crash = built(kernel(CRASH_READS)), shutil.which("crash")
    if crash is None or ready is None or ready.vmlinux is None:
        missing = "apt-get install crash" if crash is None else "pageinspect vm build --debuginfo"
        print(f"without crash: {missing} {CRASH_READS if crash else ''}".rstrip(), file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as folder:
        core, commands = Path(folder) / "core", Path(folder) / "commands"
        commands.write_text("quit\n", encoding="ascii")
        with Guest(ready) as guest:
            guest.dump(core)
        page = pageinspect("page", "0x1000", "-c", core)
        page()
        start = lambda: process(crash, "-s", "-i", commands, ready.vmlinux, core)  # noqa: E731
        ours, theirs = best(page, start, runs=runs)
    work, peer = f"page, the second time, of {CRASH_READS}", "crash with vmlinux, and quit"
    return [Line(work, peer, ours, theirs, "at most", None)]


def compare(core: Path, larger: list[Path], lines: list[Line], args: argparse.Namespace) -> None:
    """Take all timings on these cores, print them after `lines`, and write them as json."""
    asked = inspect(open_target(core))
    pages = asked.memory_map.spanned_pages
    load = os.getloadavg()[0]
    print(
        f"{asked.target.provenance.describe()}: {pages:,} pages; {parallel.available()} processors,"
    )
    print(f"load {load:.1f}; the best of {args.runs} runs each, in turn; warm files\n")
    lines = walking_parts(asked, args.runs) + whole_processes(core, asked, args.runs) + lines
    lines += owner_commands(core, OWNERS_BAR, args.runs)
    lines += one_page(core, args.runs) + beside_crash(args.runs)
    lines += large_cores(larger, args.runs)
    show(lines)
    result = {
        "release": asked.target.provenance.release,
        "pages": pages,
        "processors": parallel.available(),
        "load": load,
        "lines": as_json(lines),
    }
    write_json(args.output, result)


def main() -> None:
    """Compare on the cores of the command line, or on one made for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "core",
        nargs="?",
        type=Path,
        help="a core to use instead of a new guest; without live timings",
    )
    parser.add_argument(
        "--large",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="also a core of a large machine; several show how time grows with memory",
    )
    parser.add_argument(
        "--runs", type=int, default=RUNS, metavar="N", help="runs of each; the best counts"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write json there")
    args = parser.parse_args()
    if args.core is not None:
        compare(args.core, args.large, [], args)
        return
    with tempfile.TemporaryDirectory() as folder:
        core, busy = Path(folder) / "core", Path(folder) / "busy"
        with Guest("newest", memory=MEMORY) as guest:
            guest.run(["sh", "-c", FILL], timeout=_FILL_TIMEOUT_S)
            lines = live(guest, args.runs)
            guest.dump(core)
            guest.run(["python3", "-c", PROCESSES], timeout=_FILL_TIMEOUT_S)
            guest.dump(busy)
        lines += process_lines(busy, args.runs)
        compare(core, args.large, lines, args)


if __name__ == "__main__":
    main()
