# SPDX-License-Identifier: GPL-2.0-only
"""Maps of a very large machine, from runs that are made up: maps.py [--runs N] [-o FILE].

A child process makes a snapshot of 8 TiB with four million runs, and draws it as PNG in cells of
2 MiB, of which there are four million. Making it is timed alone as well, and its time is taken off.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from results import write_json
from timing import Line, Timing, as_json, best, process, show

MAKE = """
import json, sys
import numpy as np
from pageinspect.model.saved_kernel import SavedKernel
from pageinspect.model.snapshot import HEADER, TABLES, Names, Snapshot, SnapshotTable
pages, n = 1 << 31, 1 << 22
rng = np.random.default_rng(1)
starts = np.arange(n) * (pages // n) + rng.integers(0, pages // n, n)
starts[0] = 0
uses = ("buddy", "anon", "file", "slab", "kernel", "shmem", "hugetlb", "table", "reserved", "idle",
        "pcp", "zsmalloc")
columns = {
    "pfn": starts,
    "pages": np.diff(starts, append=pages),
    "use": Names(rng.integers(0, len(uses), n, np.int32), uses),
    "order": np.zeros(n, np.uint8),
}
def same(of):
    zeros = np.broadcast_to(np.zeros((), np.int32), n)
    return Names(zeros, ("",)) if of.kind == "name" else zeros
runs = SnapshotTable("runs", {f.name: columns.get(f.name, same(f)) for f in TABLES["runs"]})
kernel = {
    "release": "7.3.4", "source": "core", "symbols": "btf", "because": "", "notes": [],
    "guest": None, "is_whole": True, "page_shift": 12,
    "scheme": {"name": "memdesc", "types": [], "type_bits": 4}, "markers": {}, "flags": [],
    "frozen": None, "resets": None, "unavailable": [], "zone_mask": 3, "node_mask": 1,
    "zones": [[0, "Normal", 0, pages, 2]], "zone_names": ["Normal"], "devices": [],
    "pageblock_order": 9, "migratetypes": [], "missing": {}, "overlaps": [], "processes": None,
}
empty = {"text": "", "name": "", "names": ()}
row = {"kernel": json.dumps(kernel), "page_size": 4096, "spanned": pages}
header = SnapshotTable.of_rows(
    HEADER, [[row.get(f.name, empty.get(f.kind, 0)) for f in TABLES[HEADER]]]
)
snapshot = Snapshot("large", "20261127T201500Z", {"runs": runs, HEADER: header})
"""
DRAW = """
from pageinspect.picture.colours import THEMES
from pageinspect.picture.maps import MapChoice, map_of
from pageinspect.picture.png import write_png
from pageinspect.picture.scene import scene_of
picture = map_of([snapshot], ["large"], MapChoice(shift=9), 1 << 24)
assert picture.panels[0].looks.size == 1 << 22
with open(sys.argv[1], "wb") as image:
    write_png(scene_of(picture, THEMES["light"]), image)
"""
SECONDS, PEAK = 10, 300e6


def map_lines(runs: int) -> list[Line]:
    """Time drawing, and measure its memory with that of the snapshot and of Python itself."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "map.png"
        made, drawn = best(
            lambda: process(sys.executable, "-c", MAKE),
            lambda: process(sys.executable, "-c", MAKE + DRAW, image),
            runs=runs,
        )
    ours = Timing(drawn.wall - made.wall, drawn.cpu - made.cpu, drawn.peak)
    bar = Timing(SECONDS, SECONDS, PEAK)
    work = "map of 8 TiB as PNG"
    return [
        Line(work, f"{SECONDS} s", ours, bar, "at most", 1),
        Line(f"{work}, memory", f"{PEAK / 1e6:.0f} MB", ours, bar, "at most", 1, "peak"),
    ]


def main() -> None:
    """Print the timings, and write them as json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="the best counts")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write json there")
    args = parser.parse_args()
    lines = map_lines(args.runs)
    show(lines)
    write_json(args.output, {"lines": as_json(lines)})


if __name__ == "__main__":
    main()
