# SPDX-License-Identifier: GPL-2.0-only
"""Reads the per-CPU folio batches, which hold references to folios on their way to LRU lists."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from drgn import FaultError, Object, Program, TypeKind
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.percpu import per_cpu

from ..model.arch import SECTION_PFNS
from ..model.layout import PageLayout
from ..model.pageblocks import BatchReferences
from ..target.vmcoreinfo import MAX_SECTIONS
from .structures import require_structure

_BATCHES = ("cpu_fbatches", "mlock_fbatch", "lru_pvecs", "mlock_pvec")
"""Per-CPU variables with batches, or structs of them, in current and older kernels."""
_TYPES = ("folio_batch", "pagevec")
_MOST = 1 << 8
"""Entries of a batch; real ones have 15 or 31."""
_TAG_BITS = 3
"""Low bits of a pointer, in which batches of mlock() have flags."""


def read_batch_references(prog: Program, layout: PageLayout) -> BatchReferences:
    """Read the folios that are in per-CPU batches. Raises MissingStructureError."""
    found: Counter[int] = Counter()
    unreadable = known = 0
    for name in _BATCHES:
        try:
            variable = prog[name]
        except LookupError:
            continue
        with require_structure("folio batches"):
            known += 1
            for cpu in for_each_possible_cpu(prog):
                for batch in _batches_in(per_cpu(variable, cpu)):
                    unreadable += _count(batch, layout, found)
    if not known:
        with require_structure("folio batches"):
            raise LookupError(_BATCHES[0])
    pfns = np.array(sorted(found), np.int64)
    return BatchReferences(pfns, np.array([found[n] for n in pfns.tolist()], np.int64), unreadable)


def _batches_in(variable: Object) -> Iterator[Object]:
    """Yield a batch, or the batches that are members of a struct."""
    if variable.type_.tag in _TYPES:
        yield variable
        return
    for member in variable.type_.members or ():
        of_struct = member.name and member.type.kind == TypeKind.STRUCT
        if of_struct and member.type.tag in _TYPES:
            yield variable.member_(member.name)


def _count(batch: Object, layout: PageLayout, found: Counter[int]) -> int:
    """Count the folios of a batch; return 1 if it cannot be read or has an invalid entry."""
    try:
        entries = batch.folios if batch.type_.has_member("folios") else batch.pages
        n = batch.nr.value_()
        if n > min(_MOST, entries.type_.length or 0):
            return 1
        words = [entries[i].value_() for i in range(n)]
    except FaultError:
        return 1
    invalid = 0
    for word in words:
        pfn, rest = divmod((word & ~_TAG_BITS) - layout.vmemmap, layout.struct_size)
        if rest or not 0 <= pfn < MAX_SECTIONS * SECTION_PFNS:
            invalid = 1
        else:
            found[pfn] += 1
    return invalid
