# SPDX-License-Identifier: GPL-2.0-only
"""Finds the use of a page from a report, which has no free lists and no neighbouring pages."""

from collections.abc import Callable
from dataclasses import dataclass

from ...model import arch
from ...model.page_words import (
    MAPPING_ANON,
    MAPPING_KSM,
    MAPPING_MOVABLE,
    PAGE_POOL_SIGNATURE,
    page_pool_mask,
)
from .reports import DumpReport
from .types import head_words

KERNEL_HALF = arch.KERNEL_HALF[5]
"""The lowest kernel address, with 4-level or 5-level paging; 0xdead... poison is below it."""
_MAPPING_WORD = 3
_LIST_WORD = 1
_MAPPING_TAGS = {MAPPING_ANON: "anon", MAPPING_MOVABLE: "movable_ops", MAPPING_KSM: "ksm"}
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class _Page:
    """What a report says of a page."""

    type_name: str | None
    flags: list[str]
    kind: str | None
    """The use by the low bits of mapping."""
    page_pool: bool
    of_file: bool
    shared: bool
    """Of a file, and of tmpfs or shared memory."""
    swapcache: bool
    problem: bool
    """Whether the line about the file says that the mapping is not valid."""
    refcount: int | None
    mapcount: int


RULES: tuple[tuple[str, Callable[[_Page], bool]], ...] = (
    ("hwpoison", lambda page: "hwpoison" in page.flags),
    ("type", lambda page: page.type_name != "untyped"),
    ("movable_ops", lambda page: page.kind == "movable_ops"),
    ("page_pool", lambda page: page.page_pool),
    ("reserved", lambda page: "reserved" in page.flags),
    (_UNKNOWN, lambda page: page.problem),
    ("ksm", lambda page: page.kind == "ksm"),
    ("anon", lambda page: page.kind == "anon"),
    ("swapcache", lambda page: page.swapcache and not page.of_file),
    ("shmem", lambda page: page.of_file and page.shared),
    ("file", lambda page: page.of_file),
    (_UNKNOWN, lambda page: page.refcount is None),
    ("mapped", lambda page: page.mapcount > 0),
    ("kernel", lambda page: bool(page.refcount)),
    ("idle", lambda _page: True),
)
"""The rules of classify/uses.py that a report can decide, in the same order; the first that holds
gives the use. `unknown` where it cannot."""


def flag_names(report: DumpReport, line: str = "flags") -> list[str]:
    """Return the flags of a line by name."""
    names = (report.get(line, "names") or "").split("|")
    # Fields such as zone= and node= follow the names.
    return [name for name in names if name and "=" not in name]


def use(report: DumpReport, type_name: str | None) -> str:
    """Return the name of the use, or `unknown`."""
    if "poisoned" in report.lines or report.mixed:
        return _UNKNOWN
    page = _page(report, type_name)
    name = next(name for name, holds in RULES if holds(page))
    return page.type_name or _UNKNOWN if name == "type" else name


def _page(report: DumpReport, type_name: str | None) -> _Page:
    flags, word = flag_names(report), _mapping(report)
    problem = report.get("file", "problem") is not None
    is_pointer = word is not None and word >= KERNEL_HALF and not problem
    kind = None if problem else report.get("flags", "kind") or report.get("kind", "kind")
    if kind is None and word is not None and is_pointer:
        kind = _MAPPING_TAGS.get(word & 3)
    refcount = report.get("page", "refcount")
    return _Page(
        type_name,
        flags,
        kind,
        _page_pool(report),
        of_file="file" in report.lines or is_pointer,
        shared="swapbacked" in flags or report.get("file", "aops") == "shmem_aops",
        swapcache=_in_swap_cache(report, flags),
        problem=problem,
        refcount=None if refcount is None else int(refcount),
        mapcount=int(report.get("page", "mapcount") or 0),
    )


def _page_pool(report: DumpReport) -> bool:
    """Whether the word that other pages use for lru has the page_pool signature.

    With the bits of an index masked, no list pointer equals the signature.
    """
    words, mask = head_words(report), page_pool_mask(indexed=True)
    return bool(words) and words[_LIST_WORD] & mask == PAGE_POOL_SIGNATURE & mask


def _in_swap_cache(report: DumpReport, flags: list[str]) -> bool:
    """Whether it has the flags of the swap cache; PG_swapcache may be printed as owner_priv_1."""
    referenced = int(report.get("page", "refcount") or 0) > 0
    return referenced and "swapbacked" in flags and bool({"swapcache", "owner_priv_1"} & {*flags})


def _mapping(report: DumpReport) -> int | None:
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
