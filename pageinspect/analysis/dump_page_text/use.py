# SPDX-License-Identifier: GPL-2.0-only
"""Finds the use of a page from a report, which has no free lists and no neighbouring pages."""

from ...model import arch
from .reports import Report
from .types import head_words

KERNEL_HALF = arch.KERNEL_HALF[5]
"""The lowest kernel address, with 4-level or 5-level paging; 0xdead... poison is below it."""
_MAPPING_WORD = 3
_LIST_WORD = 1
_PAGE_POOL = 0xDEAD000000000040
_MAPPING_TAGS = {1: "anon", 2: "movable_ops", 3: "ksm"}


def flag_names(report: Report, line: str = "flags") -> list[str]:
    """Return the flags of a line by name."""
    names = (report.get(line, "names") or "").split("|")
    # Fields such as zone= and node= follow the names.
    return [name for name in names if name and "=" not in name]


def use(report: Report, type_name: str | None) -> str:
    """Return the name of the use, or `unknown`."""
    if "poisoned" in report.lines or report.mixed:
        return "unknown"
    flags = flag_names(report)
    for name, holds in (
        ("hwpoison", "hwpoison" in flags),
        (type_name or "unknown", type_name != "untyped"),
        ("page_pool", _page_pool(report)),
        ("reserved", "reserved" in flags),
    ):
        if holds:
            return name
    return _by_mapping(report, flags)


def _page_pool(report: Report) -> bool:
    """Whether the word that other pages use for lru has the page_pool signature.

    Its two low bits are not part of the signature. Since Linux kernel commit ee62ce7a1d90
    ("page_pool: Track DMA-mapped pages and unmap them when destroying the pool") (in v6.16, and in
    stable releases), the 32 bits from bit 7 on are an index. With these bits masked no list pointer
    equals the signature.
    """
    words = head_words(report)
    index = ((1 << 32) - 1) << 7
    return bool(words) and words[_LIST_WORD] & ~index & ~3 == _PAGE_POOL & ~index


def _by_mapping(report: Report, flags: list[str]) -> str:
    if report.get("file", "problem") is not None:
        return "unknown"
    word = _mapping(report)
    kind = report.get("flags", "kind") or report.get("kind", "kind")
    if kind is None and word is not None:
        kind = _MAPPING_TAGS.get(word & 3) if word >= KERNEL_HALF else None
    if kind:
        return kind
    if "file" in report.lines or (word is not None and word >= KERNEL_HALF):
        shared = "swapbacked" in flags or report.get("file", "aops") == "shmem_aops"
        return "shmem" if shared else "file"
    return "swapcache" if _in_swap_cache(report, flags) else _by_counts(report)


def _in_swap_cache(report: Report, flags: list[str]) -> bool:
    """Whether it has the flags of the swap cache; PG_swapcache may be printed as owner_priv_1."""
    referenced = int(report.get("page", "refcount") or 0) > 0
    return referenced and "swapbacked" in flags and bool({"swapcache", "owner_priv_1"} & {*flags})


def _mapping(report: Report) -> int | None:
    """Return the mapping of the folio: the raw word, or the one in the first line."""
    words = head_words(report)
    if words:
        return words[_MAPPING_WORD]
    try:
        printed = int(report.get("page", "mapping") or "", 16)
    except ValueError:
        return None
    # A 32-bit hash replaces an unknown kernel address.
    return KERNEL_HALF if 0 < printed < 1 << 32 else printed


def _by_counts(report: Report) -> str:
    refcount = report.get("page", "refcount")
    if refcount is None:
        return "unknown"
    if int(report.get("page", "mapcount") or 0) > 0:
        return "mapped"
    return "kernel" if int(refcount) > 0 else "idle"
