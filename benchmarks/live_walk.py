# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest, by walking_live.py: times our walk of this kernel and page-types. Prints json.

page-types without options reads all of /proc/kpageflags, where the kernel computes 64 bits per
page, and adds up the sets of flags; it reads neither kpagecount nor any pagemap.
"""

import dataclasses
import json
import sys

from timing import best, here, process
from workloads import pageinspect, walk

from pageinspect.inspector.inspector import inspect
from pageinspect.target.open import open_target


def main() -> None:
    """Time the tool named, the walk alone, and the whole command."""
    tool, runs = sys.argv[1], int(sys.argv[2])
    asked = inspect(open_target(None))
    pageinspect("summary", "--by", "use")()
    taken = best(
        lambda: process(tool),
        lambda: here(lambda: walk(asked, "use", 1)),
        pageinspect("summary", "--by", "use"),
        runs=runs,
    )
    found = dict(
        zip(("page-types", "walk", "summary"), map(dataclasses.asdict, taken), strict=True)
    )
    print(json.dumps({"pages": asked.memory_map.spanned_pages, "timings": found}))


if __name__ == "__main__":
    main()
