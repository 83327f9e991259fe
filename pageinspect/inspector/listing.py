# SPDX-License-Identifier: GPL-2.0-only
"""Lists runs of equal pages, or every page, by pfn."""

from collections.abc import Sequence
from typing import TypeVar

from ..model.ranges import Range
from ..report.listing import Listing, PageEntries, PagesListing, Runs, entries_of, runs_of
from ..report.selection import Request
from .fold import Fold
from .inspector import Inspector
from .selection import select

Kind = TypeVar("Kind", bound=Listing)


def list_pages(
    inspector: Inspector,
    kind: type[Kind],
    request: Request,
    *,
    fold: Fold,
) -> Kind:
    """Return a listing of the selected pages; the pages are read while it is rendered."""
    wanted, selection = select(inspector, request, fold)

    def entries(copy: Inspector, piece: Sequence[Range]) -> PageEntries:
        return entries_of(selection, copy.sections(piece))

    def runs(copy: Inspector, piece: Sequence[Range]) -> Runs:
        return runs_of(selection, copy.sections_in_runs(piece, "use"))

    work = entries if issubclass(kind, PagesListing) else runs
    parts = fold(inspector, wanted, work, streamed=True)
    return kind(inspector.target.provenance, inspector.layout, selection, parts)
