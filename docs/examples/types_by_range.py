"""Page types by pfn range: drgn -c CORE types_by_range.py [RANGE…]."""

import sys

import numpy as np
from drgn import get_default_prog

import pageinspect

inspector = pageinspect.from_program(get_default_prog())
wanted = inspector.ranges(*sys.argv[1:])
counts: dict[str, int] = {}
for pages in inspector.pages(wanted):
    for code, count in zip(*np.unique(pages.code, return_counts=True), strict=True):
        name = inspector.type_name(int(code))
        counts[name] = counts.get(name, 0) + int(count)
for name, count in sorted(counts.items(), key=lambda item: -item[1]):
    print(f"{count:10}  {name}")
