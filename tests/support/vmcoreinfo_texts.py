# SPDX-License-Identifier: GPL-2.0-only
"""VMCOREINFO of real kernels, and a Program with the sections that it leads to."""

import struct

from drgn import Architecture, Platform, Program
from places import DATA

from pageinspect.target import vmcoreinfo

ROOTS = 0xFFFF888000000000
ROOT = ROOTS + 0x10000
ONLINE, EARLY, PRESENT = 4, 8, 1


def vmcoreinfo_of(kernel: str) -> dict[str, str]:
    return vmcoreinfo.parse((DATA / f"vmcoreinfo_{kernel}.txt").read_text())


def program_with_sections(info: dict[str, str], maps: dict[int, int]) -> Program:
    """Return a Program that has the sections' table: section_mem_map by section number."""
    info["SYMBOL(mem_section)"] = f"{ROOTS:x}"
    roots = bytearray(8 * int(info["LENGTH(mem_section)"]))
    tables: dict[int, bytearray] = {}
    for number, value in maps.items():
        root, index = divmod(number, 256)
        struct.pack_into("<Q", roots, 8 * root, ROOT + 4096 * root)
        struct.pack_into("<Q", tables.setdefault(root, bytearray(4096)), 16 * index, value)
    memory = {ROOTS: roots} | {ROOT + 4096 * root: table for root, table in tables.items()}
    prog = Program(Platform(Architecture.X86_64))
    for address, data in memory.items():

        def read(
            _address: int, count: int, offset: int, _physical: bool, data: bytearray = data
        ) -> bytes:
            return bytes(data[offset : offset + count])

        prog.add_memory_segment(address, len(data), read, False)
    return prog
