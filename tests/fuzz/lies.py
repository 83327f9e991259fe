"""Lies that a core can tell of how much there is: written into a copy of an ELF core of a guest.

python tests/fuzz/lies.py CORE LIE OUT
"""

import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import diskdump
from drgn import Program, sizeof
from forms import physical

from pageinspect.target import open_target

Write = Callable[[int, bytes], None]
"""Writes at a virtual address, inside of a page."""

_ALL_SECTIONS = 1 << 19
"""That 46 bits of physical addresses have room for."""


def _number(value: int) -> bytes:
    return struct.pack("<Q", value)


def same_roots(prog: Program, write: Write) -> None:
    """Claim 524,288 memory sections: each root of mem_section is the first, and full."""
    write(prog["__highest_present_section_nr"].address_, _number(_ALL_SECTIONS - 1))
    roots, per_root = prog["mem_section"].read_(), prog["SECTIONS_PER_ROOT"].value_()
    first = roots[0][0]
    section = prog.read(first.address_, sizeof(first))
    write(first.address_, section * per_root)
    for i in range(_ALL_SECTIONS // per_root):
        write(roots.value_() + 8 * i, _number(roots[0].value_()))


def highest_section(prog: Program, write: Write) -> None:
    """Claim that there is section number 2**63."""
    write(prog["__highest_present_section_nr"].address_, _number(1 << 63))


def max_pfn(prog: Program, write: Write) -> None:
    """Claim 64 TiB of memory."""
    write(prog.symbol("max_pfn").address, _number(1 << 34))


def hugetlb_order(prog: Program, write: Write) -> None:
    """Have huge pages of order 20,000, and 7 of them."""
    pool = prog["hstates"][0]
    write(pool.order.address_, struct.pack("<I", 20000))
    write(pool.nr_huge_pages.address_, _number(7))


def hugetlb_sizes(prog: Program, write: Write) -> None:
    """Have 2,000,000,000 sizes of huge pages."""
    write(prog["hugetlb_max_hstate"].address_, struct.pack("<i", 2_000_000_000))


LIES = {
    lie.__name__: lie
    for lie in (same_roots, highest_section, max_pfn, hugetlb_order, hugetlb_sizes)
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

        LIES[lie](target.prog, write)


if __name__ == "__main__":
    tell(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
