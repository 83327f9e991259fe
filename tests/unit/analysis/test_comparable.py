# SPDX-License-Identifier: GPL-2.0-only
"""Tables of runs that are damaged are refused by what compares and draws them."""

from collections.abc import Callable
from typing import Any

import pytest
from compared_snapshots import Run, snapshot

from pageinspect.analysis.changed_pages import changed_pages
from pageinspect.analysis.comparable import gaps, runs_table, spans
from pageinspect.errors import PageInspectError
from pageinspect.model.snapshot import Snapshot
from pageinspect.picture.classes import classified

OWNERS = ((0, "free", ""),)
WHOLE = snapshot(((0, 8, "buddy", 0), (8, 8, "file", 0), (0x20, 8, "anon", 0)), OWNERS)
USES: tuple[Callable[[Snapshot], Any], ...] = (
    lambda damaged: runs_table(damaged, "a test"),
    lambda damaged: changed_pages(WHOLE, damaged),
    lambda damaged: gaps(damaged, WHOLE),
    lambda damaged: classified([WHOLE, damaged], "use"),
)


@pytest.mark.parametrize("use", USES, ids=("table", "changes", "gaps", "map"))
@pytest.mark.parametrize(
    ("runs", "spanned", "message"),
    [
        ([(-1, 8, "anon", 0)], 8, "the column pfn of the table runs"),
        ([(1 << 40, 8, "anon", 0)], 8, "the column pfn of the table runs"),
        ([(0, 8, "anon", 0), ((1 << 63) - 1, 8, "anon", 0)], 16, "the column pfn of the table"),
        ([(8, 8, "anon", 0), (0, 8, "anon", 0)], 16, "the column pfn of the table runs"),
        ([(0, 9, "anon", 0), (8, 8, "anon", 0)], 17, "the column pfn of the table runs"),
        ([(0, 0, "anon", 0)], 0, "the column pages of the table runs"),
        ([(0, -8, "anon", 0)], -8, "the column pages of the table runs"),
        ([(0, 1 << 62, "anon", 0)], 1 << 62, "the column pages of the table runs"),
        ([(0, 8, "anon", 0)], 16, "the table runs has 8 pages, and memory has 16"),
        ([], 16, "the table runs has 0 pages, and memory has 16"),
    ],
)
def test_damaged_runs(
    use: Callable[[Snapshot], Any], runs: list[Run], spanned: int, message: str
) -> None:
    with pytest.raises(PageInspectError, match=message) as error:
        use(snapshot(runs, OWNERS, spanned=spanned))
    assert error.value.message.startswith("lab at 20261127T201500Z is damaged: ")


def test_runs_that_are_right() -> None:
    assert spans(runs_table(WHOLE, "a test")) == ((0, 0x10), (0x20, 0x28))
