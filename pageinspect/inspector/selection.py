# SPDX-License-Identifier: GPL-2.0-only
"""Turns names and ranges into a Selection of pages of a kernel, and checks the names."""

from collections.abc import Sequence

from ..model.ranges import Range
from ..report.selection import OwnedPages, Request, Selection, check_request, selection_of
from .fold import Fold, fold_here
from .inspector import Inspector


def select(
    inspector: Inspector, request: Request, fold: Fold = fold_here
) -> tuple[Sequence[Range], Selection]:
    """Return the pfns of the ranges that have a struct page, and the Selection of their pages.

    If owners are requested, memory is walked for the pfns that they own. Raises UsageError for a
    name that this kernel does not have, and PageInspectError for one that needs the kernel's types.
    """
    check_request(inspector.layout, request)
    wanted = inspector.ranges(*request.pfn)
    owned = None
    if request.owners:
        # Imported here: to find owners takes many modules.
        from .lost_pages import pointed
        from .owned import owned_ranges

        found, keys, problems = owned_ranges(inspector, wanted, request.owners, fold)
        owned = OwnedPages(found, keys, pointed(inspector, problems))
    return selection_of(inspector.layout, request, wanted, owned)
