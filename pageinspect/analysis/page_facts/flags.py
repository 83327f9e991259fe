# SPDX-License-Identifier: GPL-2.0-only
"""Names of page flags, and the meaning of flag bits that the page's use redefines."""

from ...model.layout import PageLayout

_MOVABLE = {
    "uptodate": "the owner can move the page (movable_ops)",
    "movable_ops": "the owner can move the page",
    "reclaim": "isolated for migration",
    "movable_ops_isolated": "isolated for migration",
}
_SWAPCACHE = {"owner_priv_1": "PG_swapcache: in the swap cache"}
_ANON = {
    "mappedtodisk": "PG_anon_exclusive: mapped by one process only",
    "owner_2": "PG_anon_exclusive: mapped by one process only",
    **_SWAPCACHE,
}
_MEANINGS = {
    "table": {"referenced": "page table of the kernel itself"},
    "slab": {"workingset": "on a partial list", "active": "from the reserves (pfmemalloc)"},
    "zsmalloc": {"private": "first page of its zspage", **_MOVABLE},
    "offline": _MOVABLE,
    "buddy": {"uptodate": "reported to the hypervisor"},
    "anon": _ANON,
    "ksm": _ANON,
    "swapcache": _SWAPCACHE,
}

REUSED = (
    "Some uses give flags of the page cache another meaning, through PG_ aliases of the kernel: "
    "PG_reported of a free block is the bit of PG_uptodate."
)


def names(layout: PageLayout, word: int) -> list[str]:
    """Return the names of the flags that are set in a flags word."""
    return [name for name, bit in layout.flag_bits if word >> bit & 1]


def meanings(layout: PageLayout, flags: list[str], use: str) -> dict[str, str]:
    """Return the meanings of those flags that have another meaning in pages of this use."""
    known = _MEANINGS.get(use, {})
    if layout.movable_tag:
        # In kernels with a tag in mapping, no flag marks pages that their owner can move.
        known = {name: text for name, text in known.items() if "movable" not in text}
    return {flag: known[flag] for flag in flags if flag in known}
