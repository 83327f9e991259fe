# SPDX-License-Identifier: GPL-2.0-only
"""Detects how this kernel computes /proc/kpageflags, and which pages it treats as online."""

from drgn import FaultError, Program, offsetof

from ..errors import MISSING_MEMORY_HINT, PageInspectError
from ..layout.from_types import enumerators
from ..model.arch import SECTION_PFNS, SUBSECTION_PFNS
from ..model.kpageflags import Kpf, KsmRule, Online, Rules
from ..model.layout import PageLayout
from ..model.page_types import WordScheme
from ..model.ranges import Range, merge
from ..target.vmcoreinfo import DAMAGED, IS_ONLINE, TAINT_ZONE_DEVICE
from .ksm_flag import ksm_rule
from .online import member, sections_with_pages

# In order of preference. Flags that the kernel lacks are skipped.
_COPIED = (
    (Kpf.LOCKED, "locked"),
    (Kpf.ERROR, "error"),
    (Kpf.REFERENCED, "referenced"),
    (Kpf.UPTODATE, "uptodate"),
    (Kpf.DIRTY, "dirty"),
    (Kpf.LRU, "lru"),
    (Kpf.ACTIVE, "active"),
    (Kpf.WRITEBACK, "writeback"),
    (Kpf.RECLAIM, "reclaim"),
    (Kpf.SWAPBACKED, "swapbacked"),
    (Kpf.UNEVICTABLE, "unevictable"),
    (Kpf.RESERVED, "reserved"),
    (Kpf.MLOCKED, "mlocked"),
    (Kpf.OWNER_2, "owner_2"),
    (Kpf.OWNER_2, "mappedtodisk"),
    (Kpf.PRIVATE, "private"),
    (Kpf.PRIVATE_2, "private_2"),
    (Kpf.OWNER_PRIVATE, "owner_priv_1"),
    (Kpf.ARCH, "arch_1"),
    (Kpf.UNCACHED, "uncached"),
    (Kpf.ARCH_2, "arch_2"),
    (Kpf.ARCH_3, "arch_3"),
)


def build_rules(prog: Program, layout: PageLayout) -> Rules:
    """Return the Rules of the kernel that `prog` has open.

    Raises PageInspectError if types are unavailable, or page types do not share a word with
    mapcounts (memdesc).
    """
    if layout.unavailable:
        raise PageInspectError(
            "export needs this kernel's types: VMCOREINFO alone is not enough",
            "give the kernel's types: -s VMLINUX or --btf FILE",
        )
    if not isinstance(layout.scheme, WordScheme):
        raise PageInspectError(
            "export does not support this kernel: its mapcounts are not in struct page",
            "read its /proc/kpageflags and /proc/kpagecount themselves",
        )
    flags = {n.removeprefix("PG_"): b for n, b in enumerators(prog, "pageflags").items()}
    # v6.10 made slab a page type, and also rewrote stable_page_flags() to use the folio.
    by_folio = layout.slab is None
    copied: dict[int, int] = {}
    for kpf, name in _COPIED:
        # Aliases of these flags are either used only on first tails, or in this table as well.
        if name in flags:
            copied.setdefault(kpf, flags[name])
    # Before the rewrite of stable_page_flags(), KPF_KSM was exact.
    ksm: KsmRule = "exact"
    inferred = ""
    if by_folio:
        ksm, inferred = ksm_rule(prog, compound_info=layout.compound_mask)
    zero_holes = bool(enumerators(prog, "kpage_operation"))
    return Rules(
        copied=tuple(copied.items()),
        by_folio=by_folio,
        # v6.17 resets types at free, and also takes a snapshot of the whole folio here.
        types_by_head=bool(layout.resets),
        ksm=ksm,
        inferred_from=inferred,
        idle=flags.get("idle"),
        hwpoison=flags.get("hwpoison"),
        large_rmappable=flags.get("large_rmappable"),
        double_map=flags.get("double_map"),
        # fs/proc/page.c tests the word itself, without the off-by-one of page_has_type().
        typed_below=layout.scheme.typed_below,
        hole=0 if zero_holes else 1 << Kpf.NOPAGE,
    )


def check_length(prog: Program, end: int) -> None:
    """Raise PageInspectError if the pfn `end` is beyond the last memory section."""
    try:
        last = prog["__highest_present_section_nr"].value_()
    except (LookupError, FaultError):
        return
    if end > (last + 1) * SECTION_PFNS:
        raise PageInspectError(
            f"this kernel's max_pfn is invalid: {end:#x}, but its memory sections end at "
            f"{(last + 1) * SECTION_PFNS:#x}",
            DAMAGED,
        )


def find_online(prog: Program, end: int) -> Online:
    """Return the online pfns below `end`; raises PageInspectError."""
    try:
        return _find_online(prog, end)
    except (LookupError, FaultError) as error:
        raise PageInspectError(
            f"cannot read the memory sections of this kernel: {error}",
            MISSING_MEMORY_HINT,
        ) from None


def _find_online(prog: Program, end: int) -> Online:
    firsts, sections = sections_with_pages(prog)
    maps, usages = (member(prog, sections, name) for name in ("section_mem_map", "usage"))
    bitmap = offsetof(prog.type("struct mem_section_usage"), "subsection_map")
    ranges: list[Range] = []
    mixed: set[int] = set()
    for first, flags, usage in zip(firsts.tolist(), maps.tolist(), usages.tolist(), strict=True):
        if first >= end or not flags & IS_ONLINE:
            continue
        # Unlike pfn_valid(), pfn_to_online_page() also tests subsections of early sections.
        subsections = prog.read_u64(usage + bitmap)
        for start in range(first, first + SECTION_PFNS, SUBSECTION_PFNS):
            if subsections & 1:
                ranges.append((start, start + SUBSECTION_PFNS))
            subsections >>= 1
        if flags & TAINT_ZONE_DEVICE:
            mixed.add(first)
    return Online(tuple(merge(ranges)), frozenset(mixed))
