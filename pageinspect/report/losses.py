# SPDX-License-Identifier: GPL-2.0-only
"""Says in words what follows from lost pages, and what to do about it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..analysis.dump_levels import USER
from ..model.presence import State
from ..units import counted, number

_MOST_NAMED = 4
_FAILS = {
    "slab": "objects of these caches cannot be read, and lists and trees end where they lead to "
    "one of them",
    "large_kmalloc": "arrays and buffers in them cannot be read",
    "table": "addresses that these page tables map cannot be translated",
    "memmap": "struct pages in them cannot be read, and the pages they describe have no use",
    "stack": "stacks of these tasks cannot be unwound",
    "module": "code and data of these modules cannot be read",
    "bpf": "these BPF programs and maps cannot be read",
    "vmalloc": "memory that these functions allocated cannot be read",
    "percpu": "per-CPU variables in them cannot be read",
    "kernel": "code and variables of the kernel in them cannot be read",
    "static": "arrays that variables of the kernel point to cannot be read",
    "page_pool": "packets in them cannot be read",
    "unreadable": "their uses are unknown, as their struct pages cannot be read",
    "zsmalloc": "pages of compressed swap in them cannot be read",
}
_HOLD_STRUCTURES = {
    *("slab", "large_kmalloc", "table", "memmap", "vmalloc", "percpu", "kernel", "static"),
    *("module", "boot", "unknown", "unreadable"),
}
"""Kinds of owners whose pages have structures that lead to the owners of other pages."""
_OWNERS = (
    "Structures that lead to owners are among the lost pages: owners may be unknown, or be counted "
    "as another kind, because of it. What could not be read of them:"
)
_OF_STATE: Mapping[State, str] = {
    "cut off": "The file is cut off: copy it again, and compare its size with the original.",
    "incomplete": "makedumpfile ran out of room: take the dump again with more room for it.",
    "whole": "The file says of pages that it has them, and does not: it is damaged. Copy it again.",
}
_OTHERWISE = "their contents cannot be read"


def consequences(lost: Mapping[str, Sequence[tuple[str, int]]]) -> Iterator[str]:
    """Yield a sentence for each kind of owner with lost pages, given as (name, pages) by kind."""
    for kind, owners in lost.items():
        pages = sum(n for _, n in owners)
        names = [name for name, _ in owners[:_MOST_NAMED] if name]
        if names and len(owners) > _MOST_NAMED:
            names.append(f"{number(len(owners) - _MOST_NAMED)} more")
        of = f" ({'; '.join(names)})" if names else ""
        yield f"{kind}: {counted(pages, 'page')}{of}: {_FAILS.get(kind, _OTHERWISE)}."


def structures_lost(lost: Iterable[str], missing: Sequence[str]) -> tuple[str, ...]:
    """Return sentences on structures that could not be followed, given those that say which.

    `lost` are the kinds of owners with lost pages. If these may hold the structures, a sentence
    comes first that owners may be unknown because of it.
    """
    is_reason = bool(missing) and not _HOLD_STRUCTURES.isdisjoint(lost)
    return (_OWNERS, *missing) if is_reason else tuple(missing)


def remedies(
    causes: Mapping[str, int],
    state: State,
    level: int | None,
    unknown_tails: int,
    *,
    by_makedumpfile: bool = True,
) -> Iterator[str]:
    """Yield sentences on what to do about pages that were lost for these causes.

    `unknown_tails` are lost pages that a makedumpfile took for user memory because it did not know
    where this kernel marks tails. `by_makedumpfile` is False if it is unknown what wrote the core.
    """
    excluded = causes.get("excluded", 0)
    without = "without level 8"
    if level is not None and level & USER:
        without += f" (-d {level & ~USER})"
    may = "" if level is None or level & USER else ", or the level may be another one"
    if_it_did = "" if by_makedumpfile else "If makedumpfile wrote the core: "
    if unknown_tails:
        yield (
            f"{counted(unknown_tails, 'lost page', 'are')} the second of a compound page: "
            "makedumpfile without its commit f50c015 (of 2026-05-19) does not find the word that "
            "marks tails in this kernel, and takes them for user memory. "
            f"{if_it_did}{'take' if if_it_did else 'Take'} the dump with a newer makedumpfile, or "
            f"{without}."
        )
    if excluded > unknown_tails:
        pages = counted(excluded - unknown_tails, "page")
        again = f"ake the dump with a newer makedumpfile{_or_with(level, without)}."
        if by_makedumpfile:
            yield (
                f"makedumpfile left out {pages} that this level does not exclude: it may not know "
                f"this kernel{may}. T{again}"
            )
        else:
            yield (
                f"The core lacks {pages} that this level does not exclude. {if_it_did}it may not "
                f"know this kernel{may}; t{again}"
            )
    if causes.get("cut_off"):
        yield _OF_STATE[state]
    if causes.get("uncovered"):
        yield (
            "Parts of memory are not covered by the file. They may have been added after the crash "
            "kernel was loaded, which does not know them then: load it again (kdump-config "
            "reload, or systemctl restart kdump) after memory is added."
        )


def kept_although_free(pages: int, *, in_part: bool, one_type: bool) -> str:
    """Return a sentence on free pages in a dump whose level excludes them.

    `in_part` is whether an ELF core lacks others, and `one_type` whether the kernel's pages have
    one type each.
    """
    why = "what wrote the dump may not know this kernel"
    if in_part:
        why = "an ELF core keeps pages that could be left out if fewer than 256 are adjacent"
    elif one_type:
        why = (
            "makedumpfile before 1.7.7 takes the type of free pages for slab in kernels whose "
            "pages have one type each. They are not lost; a newer one makes the dump smaller"
        )
    return (
        f"{counted(pages, 'page')} of free blocks {'is' if pages == 1 else 'are'} in the dump "
        f"although its level excludes free pages: {why}."
    )


def _or_with(level: int | None, without: str) -> str:
    """Return the other way to take the dump: none for a level that excludes zero pages at most."""
    if level is not None and level <= 1:
        return ""
    return f", or {without if level is None or level & USER else 'with level 1'}"
