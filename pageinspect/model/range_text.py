# SPDX-License-Identifier: GPL-2.0-only
"""Parses pfn ranges of users: numbers, physical addresses, zones and nodes."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import UsageError
from .arch import ADDRESSES_OF_KERNEL
from .ranges import Range, intersect, merge

if TYPE_CHECKING:
    from .memory_map import MemoryMap

_DEVICE = "Device"
"""The kernel's name of ZONE_DEVICE."""
NUMBER = r"((?:0x[0-9a-fA-F]{1,16}|[0-9]{1,20})[KMGT]?)"
_NAMED = ("zone:", "node:")
_UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}
_FORM = re.compile(rf"(phys:)?{NUMBER}(?:([-,+]){NUMBER})?")
GRAMMAR = (
    "START-END or START,END (end exclusive), START+COUNT, one pfn, the same of physical "
    "addresses after phys:, zone:NAME or node:N; numbers are decimal or 0x, those after phys: may "
    "end in K, M, G or T: phys:0x40000000+2M"
)


def number(text: str) -> int:
    """Return the value of a text that matches NUMBER."""
    shift = _UNITS.get(text[-1], 0)
    digits = text[:-1] if shift else text
    return int(digits, 16 if digits.startswith("0x") else 10) << shift


def _numeric(text: str, page_shift: int) -> Range:
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a pfn range", f"write {GRAMMAR}")
    phys, first, operator, second = match.groups()
    if not phys:
        check_no_unit(text, first, second or "0")
    start = number(first)
    if second is None:
        end = start + (1 << page_shift if phys else 1)
    else:
        end = number(second)
        if operator == "+":
            end += start
    if end <= start:
        raise UsageError(f"the range {text!r} is empty", "the end is exclusive and after the start")
    if phys:
        start, end = start >> page_shift, -(-end >> page_shift)
    return start, end


def check_no_unit(text: str, *numbers: str) -> None:
    """Raise UsageError if one of these pfns ends in a unit."""
    if {each[-1] for each in numbers} & set(_UNITS):
        raise UsageError(
            f"{text!r} has a unit, but pfns are counted in pages",
            "give physical addresses after phys:, such as phys:0x40000000+2M",
        )


def check_syntax(texts: Iterable[str]) -> None:
    """Raise UsageError for texts that are not ranges of any kernel."""
    for text in texts:
        if not text.startswith(_NAMED):
            _numeric(text, 0)


def _named(text: str, memory_map: "MemoryMap") -> list[Range]:
    kind, _, name = text.partition(":")
    if not memory_map.zones:
        raise UsageError(
            f"VMCOREINFO alone does not have the spans of a {kind}", "give pfns or phys: addresses"
        )
    spans: list[Range] = []
    for zone in memory_map.zones:
        if zone.name.lower() == name.lower() if kind == "zone" else str(zone.node) == name:
            span = [(zone.start, zone.end)]
            spans += intersect(span, memory_map.devices) if zone.name == _DEVICE else span
    if not spans:
        known = sorted({z.name if kind == "zone" else str(z.node) for z in memory_map.zones})
        raise UsageError(
            f"this kernel has no {kind} {name!r} with pages", f"it has: {', '.join(known)}"
        )
    return spans


def asked(text: str, memory_map: "MemoryMap", page_shift: int) -> list[Range]:
    """Return the pfns that a text stands for, whether or not they have struct pages.

    Raises UsageError for an invalid range.
    """
    return _named(text, memory_map) if text.startswith(_NAMED) else [_numeric(text, page_shift)]


def resolve(texts: Sequence[str], memory_map: "MemoryMap", page_shift: int) -> list[Range]:
    """Return the spanned pfns in the user's ranges; all spanned pfns if there are no ranges.

    Raises UsageError for an invalid range, and for a range without any struct page in use.
    """
    if not texts:
        return list(memory_map.spanned)
    wanted: list[Range] = []
    for text in texts:
        ranges = asked(text, memory_map, page_shift)
        found = intersect(merge(ranges), memory_map.spanned)
        if not found:
            start = ranges[0][0]
            if start >= ADDRESSES_OF_KERNEL:
                raise UsageError(
                    f"{text} is an address, not a pfn",
                    "pageinspect page page:ADDRESS (a struct page) or virt:ADDRESS says which pfn",
                )
            first, end = min(
                memory_map.spanned,
                key=lambda r: max(r[0] - start, start - r[1], 0),
                default=(0, 1),
            )
            raise UsageError(
                f"no pfn of {text} has a struct page in use",
                f"the nearest range with struct pages is {first:#x}-{end:#x} (the end is "
                f"exclusive: its last pfn is {end - 1:#x})",
            )
        wanted.extend(found)
    return merge(wanted)
