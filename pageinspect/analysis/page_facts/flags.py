"""Page flags by name, and what the re-used ones mean for the use of a page."""

from ...model.layout import PageLayout

_MOVABLE = {
    "uptodate": "its owner can move it (movable_ops)",
    "movable_ops": "its owner can move it",
    "reclaim": "isolated for being moved",
    "movable_ops_isolated": "isolated for being moved",
}
_SWAPCACHE = {"owner_priv_1": "PG_swapcache: in the swap cache"}
_ANON = {
    "mappedtodisk": "PG_anon_exclusive: no other process has it",
    "owner_2": "PG_anon_exclusive: no other process has it",
    **_SWAPCACHE,
}
_MEANINGS = {
    "table": {"referenced": "page table of the kernel"},
    "slab": {"workingset": "on a partial list", "active": "from the reserves (pfmemalloc)"},
    "zsmalloc": {"private": "first page of its zspage", **_MOVABLE},
    "offline": _MOVABLE,
    "buddy": {"uptodate": "reported to the hypervisor"},
    "anon": _ANON,
    "ksm": _ANON,
    "swapcache": _SWAPCACHE,
}

REUSED = (
    "Flags of some uses are bits of the page cache used again: the kernel's own PG_ aliases, "
    "such as PG_reported for PG_uptodate of a free block."
)


def names(layout: PageLayout, word: int) -> list[str]:
    """Return the names of the flags that are set in a flags word."""
    return [name for name, bit in layout.flag_bits if word >> bit & 1]


def meanings(layout: PageLayout, flags: list[str], use: str) -> dict[str, str]:
    """Return what the flags mean that pages of this use have for something of their own."""
    known = _MEANINGS.get(use, {})
    if layout.movable_tag:
        # Before the flag there was a tag in mapping, and uptodate had no such meaning.
        known = {name: text for name, text in known.items() if "movable" not in text}
    return {flag: known[flag] for flag in flags if flag in known}
