# SPDX-License-Identifier: GPL-2.0-only
"""Rows of blockers of one name."""

from pageinspect.report.contiguity import BlockerRow, joined


def test_owners_of_one_name_are_one_row() -> None:
    rows = [
        BlockerRow("slab", "dentry", "reclaim", 9, 3, 2, 1, ((0x40, 0x48), (0x90, 0x91))),
        BlockerRow("slab", "dentry", "reclaim", 2, 2, 1, 0, ((0x50, 0x52),)),
        BlockerRow("slab", "dentry", "reclaim", 1, 1, 1, 1, ((0x20, 0x21),)),
    ]
    pfns = ((0x20, 0x21), (0x40, 0x48), (0x50, 0x52), (0x90, 0x91))
    assert joined(rows) == BlockerRow("slab", "dentry", "reclaim", 12, 6, 4, 2, pfns)
    assert joined(rows[:1]) == rows[0]
