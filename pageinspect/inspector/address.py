# SPDX-License-Identifier: GPL-2.0-only
"""Resolves a pfn or an address, given as text, to the pfn of a page."""

import re
from collections.abc import Sequence

from drgn import FaultError, Program

from ..errors import UsageError
from ..model import range_text
from ..model.arch import ADDRESSES_OF_KERNEL
from ..model.layout import PageLayout
from ..model.memory_map import MemoryMap
from ..target import vmcoreinfo
from ..target.page_tables import PageTables

_FORM = re.compile(rf"(phys:|virt:|page:)?{range_text.NUMBER}")
_TOP = 1 << 64
GRAMMAR = (
    "a pfn, or phys:, virt: or page: (a struct page) and an address; decimal or 0x, an "
    "address also with K, M, G or T"
)


def resolve_addresses(
    texts: Sequence[str], prog: Program, layout: PageLayout, memory_map: MemoryMap
) -> list[int]:
    """Return the pfn of each address; raises UsageError if one has no page."""
    return [_resolve(text, prog, layout, memory_map) for text in texts]


def _resolve(text: str, prog: Program, layout: PageLayout, memory_map: MemoryMap) -> int:
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a page", f"write {GRAMMAR}")
    kind, digits = match.groups()
    if not kind:
        range_text.check_no_unit(text, digits)
    number = range_text.number(digits)
    if number >= _TOP:
        raise UsageError(f"{text} is beyond 64 bits", f"write {GRAMMAR}")
    if kind == "page:":
        pfn = _of_struct_page(text, number, layout, memory_map)
    elif kind == "virt:":
        pfn = _virt_to_phys(text, number, prog, memory_map, layout) >> layout.page_shift
    else:
        pfn = number >> layout.page_shift if kind else number
        if not kind and number >= ADDRESSES_OF_KERNEL:
            raise UsageError(f"{text} is an address, not a pfn", _meant(number, layout, memory_map))
    ((start, _),) = range_text.resolve([f"{pfn:#x}"], memory_map, layout.page_shift)
    return start


def _meant(address: int, layout: PageLayout, memory_map: MemoryMap) -> str:
    """Return the hint for a kernel address that was given without a prefix, as a pfn."""
    last = max((end for _, end in memory_map.spanned), default=0)
    if 0 <= address - layout.vmemmap < last * layout.struct_size:
        return f"it is the address of a struct page: write page:{address:#x}"
    return (
        f"write page:{address:#x} if it is the address of a struct page, or virt:{address:#x} for "
        "the page that is mapped there"
    )


def _of_struct_page(text: str, address: int, layout: PageLayout, memory_map: MemoryMap) -> int:
    last = max((end for _, end in memory_map.spanned), default=0)
    pfn, rest = divmod(address - layout.vmemmap, layout.struct_size)
    if not 0 <= pfn < last:
        end = layout.vmemmap + last * layout.struct_size
        raise UsageError(
            f"{text} is not a struct page of this kernel",
            f"struct pages are at {layout.vmemmap:#x} to {end:#x}",
        )
    if rest:
        raise UsageError(
            f"{text} is {rest} bytes after the start of a struct page",
            f"write page:{address - rest:#x}",
        )
    return pfn


def _virt_to_phys(
    text: str, address: int, prog: Program, memory_map: MemoryMap, layout: PageLayout
) -> int:
    """Return the physical address: by the direct map, or by the kernel's page table."""
    if layout.unavailable:
        raise UsageError(
            f"{text} cannot be translated with VMCOREINFO alone",
            "give a pfn or a phys: address, or the kernel's types: -s VMLINUX or --btf FILE",
        )
    base = prog["page_offset_base"].value_()
    last = max((end for _, end in memory_map.spanned), default=0)
    if base <= address < base + (last << layout.page_shift):
        return int(address - base)
    try:
        return PageTables(prog, vmcoreinfo.of_program(prog)).physical(address)
    except (LookupError, FaultError):
        raise UsageError(
            f"{text} is not mapped in this kernel",
            f"give a kernel address; the direct map begins at {base:#x}",
        ) from None
