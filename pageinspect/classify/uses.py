# SPDX-License-Identifier: GPL-2.0-only
"""The uses of pages: an ordered table of rules. The first rule that holds gives the page its use.

Classification, `page --explain` and docs/uses.md are made from this table.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..model.layout import PageLayout
from ..model.page_types import SLOTS
from ..model.page_words import MAPPING_ANON, MAPPING_KSM
from .batches import Mask
from .codes import CODES, Code, code_name, codes_of
from .contradictions import CheckedColumns
from .reads import Declared, Declaring, column_of
from .words import HEAD_POOL, NO_MAPPING, flag_bit

Uses = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Rule(Declaring):
    """The rule of one use. It applies to the pages where no rule above it holds.

    The rule `type` gives one use per page type, with the name of the type.
    """

    use: str
    sentence: str
    commit: str
    """The kernel history that the rule depends on, or empty."""
    compute: Callable[[CheckedColumns], Mask]
    """Returns where it holds, (n,) bool, from `reads` only."""
    reads: tuple[Declared, ...]

    def __str__(self) -> str:
        return f"the rule {self.use}"

    def holds(self, pages: CheckedColumns) -> Mask:
        """Return where the rule holds, whether or not a rule above it holds, (n,) bool."""
        holds: Mask = self.computed(pages)
        return holds


def _unreadable(pages: CheckedColumns) -> Mask:
    return np.zeros(len(pages), np.bool_) if pages.batch.readable is None else ~pages.batch.readable


def _zone_device(pages: CheckedColumns) -> Mask:
    if pages.layout.device_zone is None:
        return np.zeros(len(pages), np.bool_)
    return pages.zone == pages.layout.device_zone


def _buddy(pages: CheckedColumns) -> Mask:
    buddy = np.zeros(len(pages), np.bool_)
    buddy[pages.free_pages] = True
    return buddy


def _typed(pages: CheckedColumns) -> Mask:
    return (pages.code < SLOTS) | (pages.code == Code.SLAB) | (pages.code == Code.HUGETLB)


def _movable_ops(pages: CheckedColumns) -> Mask:
    return pages.code == Code.MOVABLE_OPS


def _page_pool(pages: CheckedColumns) -> Mask:
    return pages.read(HEAD_POOL) & (pages.head_refcount > 0)


def _reserved(pages: CheckedColumns) -> Mask:
    return pages.flag("reserved")


def _ksm(pages: CheckedColumns) -> Mask:
    return _mapping_points(pages, MAPPING_KSM)


def _mapping_points(pages: CheckedColumns, tag: int) -> Mask:
    """Return where the mapping is a kernel address with these low two bits."""
    # All kernel addresses have the bits of the lowest one set.
    points: Mask = pages.mapping_kind == np.uint64(pages.layout.kernel_half | tag)
    return points


def _anon(pages: CheckedColumns) -> Mask:
    return _mapping_points(pages, MAPPING_ANON)


def _swapcache(pages: CheckedColumns) -> Mask:
    return pages.in_swap_cache & pages.read(NO_MAPPING) & (pages.head_refcount > 0)


def _file_mapping(pages: CheckedColumns) -> Mask:
    return _mapping_points(pages, 0) & (pages.head_refcount > 0)


def _shmem(pages: CheckedColumns) -> Mask:
    return _file_mapping(pages) & pages.head_flag("swapbacked")


def _mapped(pages: CheckedColumns) -> Mask:
    return (pages.code == Code.MAPPED) & (pages.head_refcount > 0)


def _kernel(pages: CheckedColumns) -> Mask:
    return pages.head_refcount > 0


_FILE_READS = (CheckedColumns.mapping_kind, CheckedColumns.head_refcount)

RULES = (
    Rule("unreadable", "Its struct page cannot be read.", "", _unreadable, ()),
    Rule(
        "conflict",
        "Its struct page contradicts itself or another struct page: see `pageinspect check`.",
        "",
        lambda pages: pages.conflicting,
        (CheckedColumns.conflicting,),
    ),
    Rule(
        "hwpoison",
        "PG_hwpoison is set: the hardware reported a memory error in the page.",
        "",
        lambda pages: pages.flag("hwpoison"),
        (flag_bit("hwpoison"),),
    ),
    Rule("zone_device", "Its zone is ZONE_DEVICE.", "", _zone_device, (CheckedColumns.zone,)),
    Rule(
        "buddy",
        "It is the first page of a free block, or it lies inside a free block, has no references "
        "and no type, and is not a tail of a compound page.",
        "",
        _buddy,
        (CheckedColumns.free_pages,),
    ),
    Rule(
        "pcp",
        "It is on a per-CPU free list or on the trylock list of its zone, has no references and no "
        "type, and is not a tail of a compound page. No field of struct page shows this: the lists "
        "are followed.",
        'Since Linux kernel commit 8c57b687e833 ("mm, bpf: Introduce free_pages_nolock()") '
        "(in v6.15), zones have trylock lists",
        lambda pages: pages.on_pcp_list,
        (CheckedColumns.on_pcp_list,),
    ),
    Rule(
        "type",
        "Its folio has this page type.",
        'Since Linux kernel commit 6e292b9be7f4 ("mm: split page_type out from _mapcount") '
        "(in v4.18), types are in the page_type word. Instead, slab is a flag up to v6.9, and "
        "hugetlb is a compound destructor or a flag up to v6.8",
        _typed,
        (CheckedColumns.code,),
    ),
    Rule(
        "movable_ops",
        "The low two bits of its mapping are 2: it belongs to a driver that can move it, such as "
        "zsmalloc in kernels where zsmalloc is not a page type.",
        "",
        _movable_ops,
        (CheckedColumns.code,),
    ),
    Rule(
        "page_pool",
        "Its folio is referenced and has the signature of a network page_pool (pp_magic) in the "
        "word that other pages use for lru.",
        'Since Linux kernel commit ee62ce7a1d90 ("page_pool: Track DMA-mapped pages and unmap them '
        'when destroying the pool") (in v6.16), some bits of the signature word are an index',
        _page_pool,
        (HEAD_POOL, CheckedColumns.head_refcount),
    ),
    Rule(
        "reserved",
        "PG_reserved is set: memory of the firmware or of early boot, or memory not to be used.",
        "",
        _reserved,
        (flag_bit("reserved"),),
    ),
    Rule(
        "ksm",
        "Its mapping is a kernel address with low bits 3: the page was merged by KSM.",
        "",
        _ksm,
        (CheckedColumns.mapping_kind,),
    ),
    Rule(
        "anon",
        "Its mapping is a kernel address with low bits 1: anonymous memory.",
        "",
        _anon,
        (CheckedColumns.mapping_kind,),
    ),
    Rule(
        "swapcache",
        "It is referenced and has no mapping, and PG_swapcache and PG_swapbacked are set: it is in "
        "the swap cache, before it is written to swap or after it was read back.",
        "",
        _swapcache,
        (CheckedColumns.in_swap_cache, NO_MAPPING, CheckedColumns.head_refcount),
    ),
    Rule(
        "shmem",
        "As for file, and PG_swapbacked is set: tmpfs, shared memory or memfd.",
        "",
        _shmem,
        (*_FILE_READS, flag_bit("swapbacked", "folio")),
    ),
    Rule(
        "file",
        "It is referenced, and its mapping is a kernel address with low bits 0: page cache of a "
        "file or a block device.",
        "",
        _file_mapping,
        _FILE_READS,
    ),
    Rule(
        "mapped",
        "It is referenced, its mapcount is above 0, and no earlier rule holds, as for memory of "
        "drivers.",
        "",
        _mapped,
        (CheckedColumns.code, CheckedColumns.head_refcount),
    ),
    Rule(
        "kernel",
        "It is referenced, and no earlier rule holds.",
        "",
        _kernel,
        (CheckedColumns.head_refcount,),
    ),
    Rule(
        "idle",
        "It has no references, and no earlier rule holds: a page after the first one of an "
        "allocation that is not compound, or a page between two owners.",
        "",
        lambda pages: np.ones(len(pages), np.bool_),
        (),
    ),
)

_FIRST = 512
"""The first code of a use that is not a type; smaller ones are codes of the type column."""
USE_CODES = _FIRST + len(RULES)
USE = {rule.use: _FIRST + i for i, rule in enumerate(RULES)}


class Pages(CheckedColumns):
    """The columns of a batch with the use of each page."""

    @column_of(lambda: RULES)
    def use(self) -> Uses:
        """The use of each page, (n,) uint16: a code that use_name() takes."""
        use = np.zeros(len(self), np.uint16)
        left = np.ones(len(self), np.bool_)
        for rule in RULES:
            taken = left & rule.holds(self)
            use[taken] = self.code[taken] if rule.use == "type" else USE[rule.use]
            left &= ~taken
            if not left.any():
                break
        return use


def use_name(layout: PageLayout, use: int) -> str:
    """Return the name of a use."""
    use = int(use)
    return code_name(layout.scheme, use) if use < _FIRST else RULES[use - _FIRST].use


def rule_of(use: int) -> Rule:
    """Return the rule that gives a use."""
    return RULES[use - _FIRST] if use >= _FIRST else next(r for r in RULES if r.use == "type")


def use_rank(use: int) -> int:
    """Return a sort key: the order of the rules, and among types the order of their values."""
    return RULES.index(rule_of(use)) * USE_CODES + use


def uses_of(layout: PageLayout, name: str) -> Mask:
    """Return which codes have this use name, (USE_CODES,) bool; all False for an unknown name."""
    mask = np.zeros(USE_CODES, np.bool_)
    if name in USE and name != "type":
        mask[USE[name]] = True
    # A type may have the name of a use, as anon of the memdesc scheme does.
    if name != "untyped":
        mask[:CODES] = codes_of(layout, name)
    return mask


def use_names(layout: PageLayout) -> list[str]:
    """Return the names of the uses that pages of this kernel can have, in the order of rules."""
    types = [t.name for t in layout.scheme.types if t.name != "buddy"]
    types += layout.markers
    names: list[str] = []
    for rule in RULES:
        names += types if rule.use == "type" else [rule.use]
    return [name for name in dict.fromkeys(names) if name not in layout.unavailable]
