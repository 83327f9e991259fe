# SPDX-License-Identifier: GPL-2.0-only
"""Reads the migratetype of every pageblock.

Since Linux kernel commit f1eca35a0dc7 ("mm/sparsemem: introduce struct mem_section_usage")
(in v5.3), each memory section has a struct mem_section_usage, whose bitmap pageblock_flags has some
bits for each pageblock. The lowest three are its migratetype. In newer kernels isolation is a bit
of its own, PB_migrate_isolate, and the migratetype of an isolated pageblock is kept.
"""

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program, offsetof, sizeof

from ..model.arch import MAX_ORDER, SECTION_PFNS
from ..model.pageblocks import UNKNOWN, Pageblocks
from .gather import gather_words
from .online import member, sections_with_pages
from .structures import MissingStructureError, require_structure

_WORD = 64
_HUGE_PAGE_ORDER = 9
_LEAST_ORDER = 3
"""No kernel has smaller pageblocks; damaged addresses could suggest them."""
_TYPE_MASK = 7
_MOST_BITS = 32
_NO_TYPES = ("MIGRATE_TYPES", "MIGRATE_PCPTYPES")
"""Enumerators that count migratetypes."""


def read_pageblocks(prog: Program) -> Pageblocks:
    """Read the migratetypes of all pageblocks.

    Raises MissingStructureError if this kernel lacks pageblock flags, or has them in an order of
    bits that is not known.
    """
    with require_structure("pageblock flags"):
        names = migratetype_names(prog)
        bits, isolated = _bits(prog)
        try:
            firsts, sections = sections_with_pages(prog)
        except FaultError as error:
            raise MissingStructureError(f"memory sections: {error}", "") from None
        usage = member(prog, sections, "usage")
        start = offsetof(prog.type("struct mem_section_usage"), "pageblock_flags")
        order = _order(prog, usage, start, bits)
    blocks = SECTION_PFNS >> order
    width = -(-blocks * bits // _WORD)
    addresses = (usage + np.uint64(start))[:, None] + np.arange(width, dtype=np.uint64) * 8
    words, readable = gather_words(prog, addresses.reshape(-1))
    whole = readable.reshape(-1, width).all(axis=1)
    at = np.arange(blocks) * bits
    values = words.reshape(-1, width)[:, at // _WORD] >> (at % _WORD).astype(np.uint64)
    types = (values & np.uint64(_TYPE_MASK)).astype(np.uint8)
    if isolated is not None and "isolate" in names:
        types[values & np.uint64(1 << isolated) != 0] = names.index("isolate")
    types[types >= len(names)] = UNKNOWN
    types[~whole] = UNKNOWN
    rows = np.argsort(firsts, kind="stable")
    return Pageblocks(order, names, firsts[rows], types[rows], int((~whole).sum()))


def migratetype_names(prog: Program) -> tuple[str, ...]:
    """Return the names of migratetypes by number. Raises LookupError."""
    enumerators = prog.type("enum migratetype").enumerators or ()
    numbers = {e.name: e.value for e in enumerators}
    names = [f"type {n}" for n in range(min(numbers["MIGRATE_TYPES"], _TYPE_MASK + 1))]
    for name, n in numbers.items():
        if name.startswith("MIGRATE_") and name not in _NO_TYPES and 0 <= n < len(names):
            names[n] = name.removeprefix("MIGRATE_").lower()
    return tuple(names)


def _bits(prog: Program) -> tuple[int, int | None]:
    """Return the number of bits of a pageblock, and the bit of isolation if it has one.

    Since Linux kernel commit d93d5ab9ca01 ("mm/page_alloc.c: simplify pageblock bitmap access")
    (in v5.9), the lowest bit is the first. No type shows this: NR_KERNEL_STACK_KB became a counter
    of nodes in the same release. Raises LookupError.
    """
    if "NR_KERNEL_STACK_KB" not in _enumerators(prog, "enum node_stat_item"):
        raise LookupError("the order of bits in older kernels")
    numbers = _enumerators(prog, "enum pageblock_bits")
    count = numbers.get("__NR_PAGEBLOCK_BITS", numbers.get("NR_PAGEBLOCK_BITS"))
    if count is None or not 0 < count <= _MOST_BITS:
        raise LookupError("NR_PAGEBLOCK_BITS")
    return 1 << (count - 1).bit_length(), numbers.get("PB_migrate_isolate")


def _enumerators(prog: Program, enum: str) -> dict[str, int]:
    return {e.name: e.value for e in prog.type(enum).enumerators or ()}


def _order(prog: Program, usage: npt.NDArray[np.uint64], start: int, bits: int) -> int:
    """Return pageblock_order, a constant of the build that is not in the types.

    At boot, the structs of the sections of a node are allocated next to each other, and their size
    depends on it. If no two sections have neighbouring structs, it is the order of a huge page of
    2 MiB in kernels with hugetlb, and otherwise the largest order.
    """
    distances = np.diff(np.unique(usage))
    if len(distances):
        stride = int(distances.min()) - start
        for order in range(_LEAST_ORDER, MAX_ORDER + 1):
            if -(-(SECTION_PFNS >> order) * bits // _WORD) * 8 == stride:
                return order
    try:
        sizeof(prog.type("struct hstate"))
    except (LookupError, TypeError):
        return MAX_ORDER
    return _HUGE_PAGE_ORDER
