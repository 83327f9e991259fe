"""The uses of pages: one ordered table of rules. The first that holds gives a page its use.

Classification, `page --explain` and docs/uses.md are made from this table.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..model.layout import PageLayout
from ..model.page_types import SLOTS
from .batches import Mask
from .codes import CODES, Code, code_name, codes_of
from .contradictions import CheckedColumns
from .reads import Declared, Declaring, column_of
from .words import HEAD_POOL, NO_MAPPING, flag_bit

Uses = npt.NDArray[np.uint16]

_ANON, _KSM = 1, 3


@dataclass(frozen=True, slots=True)
class Rule(Declaring):
    """One use: where `holds`, for pages that no rule before it took.

    The rule `type` stands for one use a page type, by the type's name.
    """

    use: str
    sentence: str
    commit: str
    """Kernel history that the rule rests on, where there is any."""
    compute: Callable[[CheckedColumns], Mask]
    """Returns where it holds, from what it reads."""
    reads: tuple[Declared, ...]

    def __str__(self) -> str:
        return f"the rule {self.use}"

    def holds(self, pages: CheckedColumns) -> Mask:
        """Return where the rule holds, whatever holds before it."""
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
    return _mapping_points(pages, _KSM)


def _mapping_points(pages: CheckedColumns, tag: int) -> Mask:
    """Return where the mapping is a kernel address with these low bits."""
    # All kernel addresses have the bits of the lowest one set.
    points: Mask = pages.mapping_kind == np.uint64(pages.layout.kernel_half | tag)
    return points


def _anon(pages: CheckedColumns) -> Mask:
    return _mapping_points(pages, _ANON)


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
        "Its struct page contradicts itself or its neighbours: see `pageinspect check`.",
        "",
        lambda pages: pages.conflicting,
        (CheckedColumns.conflicting,),
    ),
    Rule(
        "hwpoison",
        "PG_hwpoison is set: the hardware reported an error in it.",
        "",
        lambda pages: pages.flag("hwpoison"),
        (flag_bit("hwpoison"),),
    ),
    Rule("zone_device", "Its zone is ZONE_DEVICE.", "", _zone_device, (CheckedColumns.zone,)),
    Rule(
        "buddy",
        "It begins a free block, or lies inside one without references, without a type and is no "
        "tail of a compound page.",
        "",
        _buddy,
        (CheckedColumns.free_pages,),
    ),
    Rule(
        "pcp",
        "It is on a free list of a CPU, or on its zone's trylock list: the lists were followed, "
        "for no field tells. Tails of compound pages are not.",
        'Since Linux kernel commit 8c57b687e833 ("mm, bpf: Introduce free_pages_nolock()") '
        "(in v6.15) there are trylock lists",
        lambda pages: pages.on_pcp_list,
        (CheckedColumns.on_pcp_list,),
    ),
    Rule(
        "type",
        "Its folio has this page type; slab up to v6.9 a flag, hugetlb up to v6.8 a destructor or "
        "flag instead.",
        'Since Linux kernel commit 6e292b9be7f4 ("mm: split page_type out from _mapcount") '
        "(in v4.18)",
        _typed,
        (CheckedColumns.code,),
    ),
    Rule(
        "movable_ops",
        "The low bits of its mapping are 2: it belongs to a driver that can move it, such as "
        "zsmalloc before that had a type.",
        "",
        _movable_ops,
        (CheckedColumns.code,),
    ),
    Rule(
        "page_pool",
        "Its folio has the signature of a network page_pool where others have their list.",
        'Since Linux kernel commit ee62ce7a1d90 ("page_pool: Track DMA-mapped pages and unmap them '
        'when destroying the pool") (in v6.16) the signature leaves bits for an index',
        _page_pool,
        (HEAD_POOL, CheckedColumns.head_refcount),
    ),
    Rule(
        "reserved",
        "PG_reserved is set: firmware, boot memory, or not to be touched.",
        "",
        _reserved,
        (flag_bit("reserved"),),
    ),
    Rule(
        "ksm",
        "Its mapping is a kernel address with low bits 3: merged by KSM.",
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
        "It is referenced and has no mapping, and PG_swapcache and PG_swapbacked are set: in the "
        "swap cache, on its way to swap or back.",
        "",
        _swapcache,
        (CheckedColumns.in_swap_cache, NO_MAPPING, CheckedColumns.head_refcount),
    ),
    Rule(
        "shmem",
        "As file, with PG_swapbacked: tmpfs, shared memory or memfd.",
        "",
        _shmem,
        (*_FILE_READS, flag_bit("swapbacked", "folio")),
    ),
    Rule(
        "file",
        "It is referenced, and its mapping is a kernel address: page cache of a file or block "
        "device.",
        "",
        _file_mapping,
        _FILE_READS,
    ),
    Rule(
        "mapped",
        "It is mapped into user space without a mapping.",
        "",
        _mapped,
        (CheckedColumns.code, CheckedColumns.head_refcount),
    ),
    Rule(
        "kernel",
        "It is referenced, and none of the above.",
        "",
        _kernel,
        (CheckedColumns.head_refcount,),
    ),
    Rule(
        "idle",
        "It has no references and is on no list that we know: behind the first page of an "
        "allocation that is no compound page, or on its way between owners.",
        "",
        lambda pages: np.ones(len(pages), np.bool_),
        (),
    ),
)

_FIRST = 512
"""Codes of uses that are no type; the others are the codes of the type column."""
USE_CODES = _FIRST + len(RULES)
USE = {rule.use: _FIRST + i for i, rule in enumerate(RULES)}


class Pages(CheckedColumns):
    """The columns of a batch with the use of each page."""

    @column_of(lambda: RULES)
    def use(self) -> Uses:
        """The use of each page: a code of `use_name`."""
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
    """Return the place of a use in the order of the rules; types are in that of their values."""
    return RULES.index(rule_of(use)) * USE_CODES + use


def uses_of(layout: PageLayout, name: str) -> Mask:
    """Return which codes a use's name means, (USE_CODES,) bool; none for what is no use."""
    mask = np.zeros(USE_CODES, np.bool_)
    if name in USE and name != "type":
        mask[USE[name]] = True
    # A type may have the name of a use: anon of a memdesc.
    if name != "untyped":
        mask[:CODES] = codes_of(layout, name)
    return mask


def use_names(layout: PageLayout) -> list[str]:
    """Return the names of all uses that pages of this kernel can have, in the rules' order."""
    types = [t.name for t in layout.scheme.types if t.name != "buddy"]
    types += [n for n, marker in (("slab", layout.slab), ("hugetlb", layout.hugetlb)) if marker]
    names: list[str] = []
    for rule in RULES:
        names += types if rule.use == "type" else [rule.use]
    return [name for name in dict.fromkeys(names) if name not in layout.unavailable]
