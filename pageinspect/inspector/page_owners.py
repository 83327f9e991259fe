# SPDX-License-Identifier: GPL-2.0-only
"""Names the owners of single pages."""

from collections.abc import Sequence

import numpy as np

from ..analysis.page_facts import Fact
from ..classify.uses import USE
from ..model.owner_names import OwnerName
from ..model.ranges import merge
from ..owners.kind import Kind
from ..owners.table import KINDS, NOBODY, kinds_of_uses
from .inspector import Inspector
from .owner_finder import owner_finder
from .page_allocations import PageAllocations


def owner_facts(
    inspector: Inspector, pfns: Sequence[int]
) -> tuple[dict[int, tuple[Fact, ...]], tuple[str, ...]]:
    """Return facts on the owner of each pfn, and sentences about what is missing.

    The kernel's structures are read only if the owner of a page depends on them.
    """
    wanted = merge((pfn, pfn + 1) for pfn in pfns)
    uses = np.concatenate([pages.use for pages in inspector.pages(wanted)])
    fields = () if _are_found_in_pages(inspector, uses) else None
    finder = owner_finder(inspector) if fields is None else owner_finder(inspector, fields)
    allocations = None
    ext, modules = finder.structures.page_ext, finder.structures.modules
    if ext is not None:
        allocations = PageAllocations(inspector, ext, modules)
    found: dict[int, tuple[Fact, ...]] = {}
    for pages, pieces in finder.walk(inspector, wanted, finder.assigner(inspector.layout)):
        compound = pages.folio_order > 0
        for number in np.unique(pieces.kinds).tolist():
            some = pieces.where(pieces.kinds == number)
            names = finder.names.names(KINDS[number].name, some.keys.tolist())
            for start, length, row, name in zip(
                some.starts.tolist(), some.lengths.tolist(), some.rows.tolist(), names, strict=True
            ):
                fact = _fact(KINDS[number], name)
                for pfn in range(start, start + length):
                    head = int(pages.heads[row]) if compound[row] else pfn
                    more = () if allocations is None else allocations.facts(pfn, head)
                    found[pfn] = (fact, *more)
    problems = () if allocations is None else (f"{text}." for text in allocations.problems)
    return found, tuple(dict.fromkeys((*finder.problems, *problems)))


def _are_found_in_pages(
    inspector: Inspector, uses: "np.ndarray[tuple[int], np.dtype[np.uint16]]"
) -> bool:
    """Return whether the owners of pages of these uses are found without other structures."""
    kinds = kinds_of_uses(inspector.layout)[uses]
    by_structures = [i for i, kind in enumerate(KINDS) if kind.claims is not None]
    return not (np.isin(kinds, [NOBODY, *by_structures]) | (uses == USE["anon"])).any()


def _fact(kind: Kind, name: OwnerName) -> Fact:
    value = {"kind": kind.name, "name": name.name or None}
    if name.caller:
        value["caller"] = name.caller
    if name.file_system:
        value["filesystem"] = name.file_system
    caller = "" if name.caller == name.name else name.caller
    owner = f"{kind.name}:{name.name}" if name.name else kind.name
    parts = [owner, f"(allocated by {caller})" if caller else ""]
    return Fact("owner", value, " ".join(filter(None, parts)), "", f"{kind.sentence} {kind.source}")
