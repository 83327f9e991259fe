# SPDX-License-Identifier: GPL-2.0-only
"""Lies that a core can tell of how much there is: written into a copy of an ELF core of a guest.

python tests/fuzz/lies.py CORE LIE OUT
"""

import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import diskdump
import numpy as np
from drgn import sizeof
from forms import physical

from pageinspect.inspector.inspector import inspect
from pageinspect.model.arch import MAX_ORDER
from pageinspect.target.open import Target, open_target

Write = Callable[[int, bytes], None]
"""Writes at a virtual address, inside of a page."""

_ALL_SECTIONS = 1 << 19
"""That 46 bits of physical addresses have room for."""


def _number(value: int) -> bytes:
    return struct.pack("<Q", value)


def same_roots(target: Target, write: Write) -> None:
    """Claim 524,288 memory sections: each root of mem_section is the first, and full."""
    prog = target.prog
    write(prog["__highest_present_section_nr"].address_, _number(_ALL_SECTIONS - 1))
    roots, per_root = prog["mem_section"].read_(), prog["SECTIONS_PER_ROOT"].value_()
    first = roots[0][0]
    section = prog.read(first.address_, sizeof(first))
    write(first.address_, section * per_root)
    for i in range(_ALL_SECTIONS // per_root):
        write(roots.value_() + 8 * i, _number(roots[0].value_()))


def _free_memory(target: Target) -> int:
    """Return the virtual address of a free block of the largest order."""
    opened = inspect(target)
    for pages in opened.pages():
        free = np.array([opened.type_name(code) == "buddy" for code in pages.code.tolist()])
        largest = pages.pfns[free & (pages.order == MAX_ORDER)]
        if len(largest):
            return target.prog["page_offset_base"].value_() + int(largest[0]) * diskdump.PAGE
    raise LookupError("a free block of the largest order")


def _claim(target: Target, write: Write, sections: int) -> None:
    """Claim so many sections, their parts of mem_section in memory that is free."""
    prog, at = target.prog, _free_memory(target)
    write(prog["__highest_present_section_nr"].address_, _number(sections - 1))
    roots, per_root = prog["mem_section"].read_(), prog["SECTIONS_PER_ROOT"].value_()
    first = roots[0][0]
    section = prog.read(first.address_, sizeof(first))
    for i in range(1, sections // per_root):
        write(at + i * diskdump.PAGE, section * per_root)
        write(roots.value_() + 8 * i, _number(at + i * diskdump.PAGE))


def many_sections(target: Target, write: Write) -> None:
    """Claim some 32,768 memory sections, of which two have struct pages."""
    _claim(target, write, 1 << 15)


def too_many_sections(target: Target, write: Write) -> None:
    """Claim some 131,072 memory sections, each in a part of mem_section of its own."""
    _claim(target, write, 1 << 17)


def highest_section(target: Target, write: Write) -> None:
    """Claim that there is section number 2**63."""
    prog = target.prog
    write(prog["__highest_present_section_nr"].address_, _number(1 << 63))


def max_pfn(target: Target, write: Write) -> None:
    """Claim 64 TiB of memory."""
    prog = target.prog
    write(prog.symbol("max_pfn").address, _number(1 << 34))


def hugetlb_order(target: Target, write: Write) -> None:
    """Have huge pages of order 20,000, and 7 of them."""
    prog = target.prog
    pool = prog["hstates"][0]
    write(pool.order.address_, struct.pack("<I", 20000))
    write(pool.nr_huge_pages.address_, _number(7))


def hugetlb_sizes(target: Target, write: Write) -> None:
    """Have 2,000,000,000 sizes of huge pages."""
    prog = target.prog
    write(prog["hugetlb_max_hstate"].address_, struct.pack("<i", 2_000_000_000))


LIES = {
    lie.__name__: lie
    for lie in (
        same_roots,
        many_sections,
        too_many_sections,
        highest_section,
        max_pfn,
        hugetlb_order,
        hugetlb_sizes,
    )
}


def tell(core: Path, lie: str, out: Path) -> None:
    """Write a copy of `core` that tells one of LIES to `out`."""
    shutil.copyfile(core, out)
    target = open_target(core)
    places = diskdump.places(core.read_bytes())
    with out.open("r+b") as file:

        def write(address: int, data: bytes) -> None:
            pfn, inside = divmod(physical(target, address), diskdump.PAGE)
            file.seek(places[pfn] + inside)
            file.write(data)

        LIES[lie](target, write)


if __name__ == "__main__":
    tell(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
