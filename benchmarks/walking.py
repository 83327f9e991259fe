"""How fast pageinspect is beside its peers, in one run, as ratios: `make bench`.

Dumps a guest of the newest kernel (or takes a core), and times what docs/performance.md lists,
peers in turn with ours, the best of a few runs each, on warm files. --large FILE adds a core of a
large machine, and how time grows from the one to the other; large_core.py makes one.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from drgn.helpers.linux.mm import for_each_page
from results import write_json
from timing import RUNS, Line, Timing, as_json, best, here, process, show

from pageinspect import jobs, ranges
from pageinspect.classify.runs import Detail
from pageinspect.commands.walking import folded
from pageinspect.ranges import Range
from pageinspect.report.selection import Selection
from pageinspect.report.summary import Counts, count
from pageinspect.survey import Survey, survey
from pageinspect.target import open_target
from pageinspect.totals import Tally, TypeTally, UseTally
from pageinspect.vm.catalogue import kernel
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import built

MEMORY = "4G"
FILL = """
modprobe zram && echo 64M > /sys/block/zram0/disksize
dd if=/dev/urandom of=/dev/zram0 bs=1M count=32 2> /dev/null
echo 8 > /proc/sys/vm/nr_hugepages
find / -xdev -type f -size -64k -exec cat {} + > /dev/null 2>&1
true
"""
"""What the guest does before it is dumped, so that not all of its memory is free."""
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
        return count(copy.layout, selection, [by], tally.watch(copy.runs(piece, by))), tally

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


def walking_parts(asked: Survey, runs: int) -> list[Line]:
    """Compare the walking part alone, in the one process that has the core open."""
    (loop,) = best(lambda: here(lambda: drgn_loop(asked)), runs=1)
    read, by_use, by_type = best(
        lambda: here(lambda: read_once(asked)),
        lambda: here(lambda: walk(asked, "use", 1)),
        lambda: here(lambda: walk(asked, "type", 1)),
        runs=runs,
    )
    use, type_, reading = "walk --by use -j 1", "walk --by type -j 1", "prog.read() of the vmemmap"
    return [
        Line(use, "for_each_page(), one member", by_use, loop, "at least", 20),
        Line(use, reading, by_use, read, "at least", 0.6),
        Line(type_, reading, by_type, read, "at least", 1.0),
    ]


def whole_processes(core: Path, asked: Survey, runs: int) -> list[Line]:
    """Compare commands from their start to their end."""
    places = [address for part in vmemmap(asked) for address in part]
    summary = pageinspect("summary", "--by", "use", "-c", core)
    with tempfile.TemporaryDirectory() as folder:
        summary()  # What it learns of the kernel is kept for the next.
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


def one_page(core: Path, vmlinux: Path | None, runs: int) -> list[Line]:
    """Compare asking for one page with the start of what else can be asked for it."""
    page = pageinspect("page", "0x1000", "-c", core)
    page()
    peers: dict[str, tuple[float | None, Callable[[], Timing]]] = {}
    if vmlinux:
        drgn = python("-m", "drgn", "-q", "-c", core, "-s", vmlinux, "-e", "0")
        peers["drgn's command line with vmlinux"] = 0.5, drgn
    crash = shutil.which("crash")
    if crash and vmlinux:
        peers["crash"] = (None, lambda: process(crash, "-s", vmlinux, core, "-i", "/dev/null"))
    lines = []
    for name, (bar, peer) in peers.items():
        ours, theirs = best(page, peer, runs=runs)
        lines.append(Line("page, the second time", name, ours, theirs, "at most", bar))
    return lines


def large_core(core: Path, runs: int) -> list[Line]:
    """Compare on the core of a large machine, and with what a small one takes."""
    asked = survey(open_target(core))
    places = [address for part in vmemmap(asked) for address in part]
    summary = pageinspect("summary", "--by", "use", "-c", core)
    summary()
    ours, reading = best(summary, python("-c", READ_ALL, core, *places), runs=runs)
    name = f"{asked.census.spanned_pages:,} pages"
    read = f"one process, prog.read() of the vmemmap of {name}"
    lines = [Line(f"summary --by use, {name}", read, ours, reading, "at most", 1.0)]
    return lines + growth(asked, runs)


def growth(asked: Survey, runs: int) -> list[Line]:
    """Compare a page of all memory with a page of its first parts."""
    sizes = []
    for gigabytes in (8, 32, 1 << 20):
        part = ranges.intersect(asked.census.spanned, [(0, gigabytes << 18)])
        (took,) = best(lambda part=part: here(lambda: walk(asked, "use", 1, part)), runs=runs)  # type: ignore[misc]
        pages = ranges.count(part)
        sizes.append((pages, Timing(took.wall / pages, took.cpu / pages, 0)))
    *fewer, (pages, whole) = sizes
    return [
        Line(f"walk, a page of {pages:,}", f"a page of {n:,}", whole, each, "at most", 1.15, "cpu")
        for n, each in fewer
    ]


def compare(core: Path, larger: list[Path], output: Path | None, runs: int) -> None:
    """Take all timings on these cores, print them, and write them as json."""
    asked = survey(open_target(core))
    ready = built(kernel("newest"))
    vmlinux = None if ready is None else ready.vmlinux
    pages = asked.census.spanned_pages
    load = os.getloadavg()[0]
    print(f"{asked.target.provenance.describe()}: {pages:,} pages; {jobs.available()} processors,")
    print(f"load {load:.1f}; the best of {runs} runs each, in turn; warm files\n")
    lines = walking_parts(asked, runs) + whole_processes(core, asked, runs)
    lines += one_page(core, vmlinux, runs)
    for large in larger:
        lines += large_core(large, runs)
    show(lines)
    result = {
        "release": asked.target.provenance.release,
        "pages": pages,
        "processors": jobs.available(),
        "load": load,
        "lines": as_json(lines),
    }
    write_json(output, result)


def main() -> None:
    """Compare on the cores of the command line, or on one made for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("core", nargs="?", type=Path, help="instead of a new guest's")
    parser.add_argument(
        "--large",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a core of a large machine as well",
    )
    parser.add_argument(
        "--runs", type=int, default=RUNS, metavar="N", help="of each, the best counts"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write json there")
    args = parser.parse_args()
    if args.core is not None:
        compare(args.core, args.large, args.output, args.runs)
        return
    with tempfile.TemporaryDirectory() as folder:
        core = Path(folder) / "core"
        with Guest("newest", memory=MEMORY) as guest:
            guest.run(["sh", "-c", FILL])
            guest.dump(core)
        compare(core, args.large, args.output, args.runs)


if __name__ == "__main__":
    main()
