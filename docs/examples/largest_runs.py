# SPDX-License-Identifier: GPL-2.0-only
"""The ten largest runs of pages of one use: python3 largest_runs.py CORE [USE]."""

import sys
from itertools import islice

import numpy as np

import pageinspect

core, *asked = sys.argv[1:]
with pageinspect.open_core(core) as kernel:
    parts = [(pages.pfns, pages.lengths, pages.use) for pages in kernel.runs(detail="use")]
pfns = np.concatenate([part[0] for part in parts])
lengths = np.concatenate([part[1] for part in parts])
uses = np.concatenate([part[2] for part in parts])

# A row continues the run of the row before it when it has the same use and begins where that ends.
continues = (pfns[1:] == pfns[:-1] + lengths[:-1]) & (uses[1:] == uses[:-1])
first = np.flatnonzero(np.append(True, ~continues))
totals = np.add.reduceat(lengths, first)

largest = (
    (int(pfns[first[i]]), int(totals[i]), kernel.use_name(int(uses[first[i]])))
    for i in np.argsort(-totals, kind="stable")
)
for start, length, use in islice((run for run in largest if run[2] in (asked or [run[2]])), 10):
    print(f"{start:#12x}  {length:10} pages  {use}")
