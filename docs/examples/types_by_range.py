# SPDX-License-Identifier: GPL-2.0-only
"""Page types by pfn range: python3 types_by_range.py CORE [RANGE…], ranges as for --pfn."""

import sys

import pageinspect

core, *ranges = sys.argv[1:]
with pageinspect.open_core(core) as kernel:
    summary = kernel.summary("type", pfn=ranges, counters=False)
for row in sorted(summary.rows, key=lambda row: -row.pages):
    print(f"{row.pages:10}  {row.key[0]}")
