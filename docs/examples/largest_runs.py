"""The ten largest runs of pages of one use: drgn -c CORE largest_runs.py [USE]."""

import sys

import numpy as np
from drgn import get_default_prog

import pageinspect

inspector = pageinspect.from_program(get_default_prog())
asked = sys.argv[1] if len(sys.argv) > 1 else None
runs: list[tuple[int, int, str]] = []
for pages in inspector.pages():
    starts = np.flatnonzero(np.diff(pages.use, prepend=np.uint16(0xFFFF)))
    ends = np.append(starts[1:], len(pages))
    for first, end in zip(starts.tolist(), ends.tolist(), strict=True):
        start, use, length = (
            int(pages.pfns[first]),
            inspector.use_name(pages.use[first]),
            end - first,
        )
        if runs and runs[-1][2] == use and sum(runs[-1][:2]) == start:
            runs[-1] = (runs[-1][0], runs[-1][1] + length, use)
        else:
            runs.append((start, length, use))
largest = sorted((run for run in runs if asked in (None, run[2])), key=lambda run: -run[1])
for start, length, use in largest[:10]:
    print(f"{start:#12x}  {length:10} pages  {use}")
