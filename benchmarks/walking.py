"""How fast the walk is beside its peers, on one core of one guest, in one run.

Dumps a guest of the newest kernel (or takes the core named on the command line), and prints pages
per second and ratios; the best of three runs each, on a warm file.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from drgn.helpers.linux.mm import for_each_page
from results import print_table, write_json

from pageinspect.classify.runs import Detail
from pageinspect.report.selection import Selection
from pageinspect.report.summary import count, summarise
from pageinspect.survey import Survey, survey
from pageinspect.target import open_target
from pageinspect.vm.guest import Guest

RUNS = 3
MEMORY = "4G"


def drgn_loop(asked: Survey) -> None:
    """Do what a drgn script does: one object a page, one member read."""
    for page in for_each_page(asked.target.prog):
        page.page_type.value_()


def read_once(asked: Survey) -> None:
    """Read the vmemmap and nothing more, in the pieces that the walk reads."""
    size = asked.layout.struct_size
    for start, end in asked.census.spanned:
        for pfn in range(start, end, 32768):
            asked.target.prog.read(
                asked.layout.vmemmap + pfn * size, (min(end, pfn + 32768) - pfn) * size
            )


def summary_by_type(asked: Survey) -> None:
    """Do the walking part of `pageinspect summary`."""
    _summary(asked, "type")


def summary_by_use(asked: Survey) -> None:
    """Do the walking part of `pageinspect summary --by use`."""
    _summary(asked, "use")


def _summary(asked: Survey, by: Detail) -> None:
    selection = Selection(asked.census.spanned_pages)
    provenance = asked.target.provenance
    counts = count(asked.layout, selection, [by], asked.runs(detail=by))
    summarise(provenance, asked.layout, asked.census, selection, [by], counts)


def best(work: Callable[[Survey], None], asked: Survey, runs: int) -> float:
    """Return the shortest time of some runs, in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work(asked)
        times.append(time.perf_counter() - start)
    return min(times)


def compare(core: Path, output: Path | None) -> None:
    """Print the table for one core, and write its figures as json to a file if there is one."""
    asked = survey(open_target(core))
    pages = asked.census.spanned_pages
    peers = {
        "drgn for_each_page, one member": best(drgn_loop, asked, 1),
        "drgn prog.read() of the vmemmap": best(read_once, asked, RUNS),
        "pageinspect summary, walking part": best(summary_by_type, asked, RUNS),
        "pageinspect summary --by use, walking part": best(summary_by_use, asked, RUNS),
    }
    ours = peers["pageinspect summary --by use, walking part"]
    print(f"{asked.target.provenance.describe()}: {pages:,} pages\n")
    print_table(
        ("work", "million pages/s", "its time / ours"),
        [
            (name, f"{pages / seconds / 1e6:.2f}", f"{seconds / ours:.2f}")
            for name, seconds in peers.items()
        ],
    )
    release = asked.target.provenance.release
    write_json(output, {"release": release, "pages": pages, "seconds": peers})


def main() -> None:
    """Compare on the core of the command line, or on one made for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("core", nargs="?", type=Path, help="instead of a new guest's")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write json there")
    args = parser.parse_args()
    if args.core is not None:
        compare(args.core, args.output)
        return
    with tempfile.TemporaryDirectory() as folder:
        core = Path(folder) / "core"
        with Guest("newest", memory=MEMORY) as guest:
            guest.dump(core)
        compare(core, args.output)


if __name__ == "__main__":
    main()
