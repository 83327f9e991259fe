# SPDX-License-Identifier: GPL-2.0-only
"""A machine of a few page tables made by hand, and an ELF core of it."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from drgn import FaultError
from elf_builder import elf, segment
from synthetic import MODERN

from pageinspect.model.elf import LOAD
from pageinspect.vmemmap.elf_mmap import MappedVmemmap, map_vmemmap

PAGE = 4096
LEAF = 2 << 20
VMEMMAP = 0xFFFFEA0000000000
LAYOUT = replace(MODERN, vmemmap=VMEMMAP)
ROOT = 0x1000
"""Physical addresses of the tables; memory is in two segments, the second high up."""
PUD, PMD, PTE = 0x2000, 0x3000, 0x4000
LOW, HIGH = 8 << 20, 1 << 32
PFNS = LEAF // 64


class Machine:
    """Memory, and an ELF core of it: the words of struct pages are where they are in the file."""

    def __init__(self, folder: Path, gap: int = 0x4D8) -> None:
        self.path = folder / "core"
        self.low = np.random.default_rng(1).integers(0, 256, LOW, np.uint8)
        self.high = np.random.default_rng(2).integers(0, 256, 2 * LEAF, np.uint8)
        self.gap = gap
        for table in (ROOT, PUD, PMD, PTE):
            self.low[table : table + PAGE] = 0
        self.entry(ROOT, VMEMMAP >> 39 & 511, PUD | 1)
        self.entry(PUD, VMEMMAP >> 30 & 511, PMD | 1)
        # A leaf low, one high, one in pages of which many are one, and one that is not there.
        self.entry(PMD, 0, (1 << 63) | LEAF | 0x81)
        self.entry(PMD, 1, (HIGH + LEAF) | 0x81)
        self.entry(PMD, 2, PTE | 1)
        for i in range(512):
            self.entry(
                PTE, i, (1 << 63) | (HIGH + PAGE * (i % 8) if i < 64 else 2 * LEAF + PAGE * i) | 1
            )

    def entry(self, table: int, index: int, value: int) -> None:
        self.low[table + 8 * index : table + 8 * index + 8] = np.frombuffer(
            struct.pack("<Q", value), np.uint8
        )

    def read(self, address: int, size: int, physical: bool = False) -> bytes:
        address -= 0 if physical else 0xFFFFFFFF80000000
        if not 0 <= address <= LOW - size:
            raise FaultError("not there", address)
        return self.low[address : address + size].tobytes()

    def write(self) -> Path:
        headers = 64 + 2 * 56
        first = headers + self.gap
        with self.path.open("wb") as file:
            parts = (first, 0, len(self.low)), (first + LOW, HIGH, len(self.high))
            file.write(elf(*(segment(LOAD, *part) for part in parts)))
            file.write(bytes(self.gap))
            file.write(self.low.tobytes())
            file.write(self.high.tobytes())
        return self.path

    def mapped(self) -> MappedVmemmap:
        info = {"SYMBOL(swapper_pg_dir)": f"{0xFFFFFFFF80000000 + ROOT:x}"}
        prog: Any = self
        mapped = map_vmemmap(prog, LAYOUT, info, self.write())
        assert mapped is not None
        return mapped

    def leaf(self, number: int) -> bytes:
        if number == 0:
            return self.low[LEAF : 2 * LEAF].tobytes()
        if number == 1:
            return self.high[LEAF:].tobytes()
        pages = [self.high[PAGE * (i % 8) :][:PAGE].tobytes() for i in range(64)]
        return b"".join(pages) + self.low[2 * LEAF + 64 * PAGE : 3 * LEAF].tobytes()
