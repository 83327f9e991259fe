# SPDX-License-Identifier: GPL-2.0-only
"""Finds the kernel's own image in physical memory."""

from collections.abc import Mapping

from drgn import Program

from ..model.arch import IMAGE_SIZE, IMAGE_START, PAGE_SHIFT, PAGE_SIZE
from ..model.owner_memory import KernelImage, NamedRange
from .structures import MissingStructureError

_SECTIONS = (
    ("code", "_text", "_etext"),
    ("rodata", "__start_rodata", "__end_rodata"),
    ("data", "_sdata", "_edata"),
    ("init", "__init_begin", "__init_end"),
    ("bss", "__bss_start", "__bss_stop"),
    ("brk", "__bss_stop", "_end"),
)
"""Name, first symbol, and the symbol after the last byte, in order of addresses."""


def read_kernel_image(prog: Program, vmcoreinfo: Mapping[str, str]) -> KernelImage:
    """Return the sections of the image by their symbols; raises MissingStructureError.

    A page with bytes of two sections is in the first. Padding between sections is in none.
    """
    base = vmcoreinfo.get("NUMBER(phys_base)")
    if base is None:
        raise MissingStructureError(
            "VMCOREINFO of this kernel has no NUMBER(phys_base)",
            "the physical address of the kernel's image cannot be found",
        )
    sections: list[NamedRange] = []
    done = 0
    for name, first, last in _SECTIONS:
        try:
            start, end = (_offset(prog, symbol) for symbol in (first, last))
        except LookupError:
            continue
        start, end = max(start // PAGE_SIZE * PAGE_SIZE, done), -(-end // PAGE_SIZE) * PAGE_SIZE
        if start < end <= IMAGE_SIZE:
            at = (start + int(base, 0)) >> PAGE_SHIFT
            sections.append((name, (at, at + ((end - start) >> PAGE_SHIFT))))
            done = end
    if not sections:
        raise MissingStructureError(
            "this kernel has no symbols of its image, such as _text",
            "its symbols lack them, or this kernel is not supported; try -s VMLINUX",
        )
    return KernelImage(tuple(sections))


def _offset(prog: Program, symbol: str) -> int:
    """Return the offset of a symbol in the image; raises LookupError."""
    address = prog.symbol(symbol).address
    if not IMAGE_START <= address <= IMAGE_START + IMAGE_SIZE:
        raise LookupError(f"{symbol} is not in the kernel's image")
    return address - IMAGE_START
