# SPDX-License-Identifier: GPL-2.0-only
"""Damaged memory in three islands, and what stands for a Program that reads it."""

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from drgn import FaultError
from sections import FIRST, N, memory_map_of, sound, wounds
from synthetic import MODERN, SIZE, Memory

from pageinspect.model.arch import SECTION_PFNS
from pageinspect.model.memory_map import MemoryMap

ISLANDS = [FIRST + 2 * i * SECTION_PFNS for i in range(3)]
"""First pfns of the memory made here: each island lies in two sections, and no section is full."""
START, END = 7 * SECTION_PFNS, 13 * SECTION_PFNS
SPANNED = tuple((first, first + N) for first in ISLANDS)


@dataclass
class Reads:
    """A Program that can be asked for memory and for nothing else: no symbol, no type."""

    words: np.ndarray
    there: np.ndarray
    core_dump_path: str | None

    def __getitem__(self, name: str) -> NoReturn:
        raise KeyError(name)

    type = constant = symbol = __getitem__

    def read(self, address: int, size: int) -> bytes:
        first, rest = divmod(address - MODERN.vmemmap, SIZE)
        assert rest == 0
        part = slice(first - START, first - START + size // SIZE)
        if part.start < 0 or part.stop > len(self.there) or not self.there[part].all():
            raise FaultError("not there", address)
        return self.words[part].tobytes()


class Mapped:
    def __init__(self, prog: Reads) -> None:
        self._prog = prog

    def read(self, first: int, n: int) -> np.ndarray | None:
        part = slice(first - START, first - START + n)
        return self._prog.words[part] if self._prog.there[part].all() else None

    def drop_cached_pages(self) -> None:
        pass


def damaged(seed: int) -> tuple[Reads, MemoryMap]:
    rng = np.random.default_rng(seed)
    words = np.zeros((END - START, SIZE // 8), np.uint64)
    there = np.zeros(len(words), np.bool_)
    for first in ISLANDS:
        memory = Memory(N, MODERN, first)
        sound(memory, rng)
        wounds(memory, rng)
        place = slice(first - START, first - START + N)
        words[place], there[place] = memory.words, True
    there[ISLANDS[1] - START + 1024 :][:64] = False
    some = memory_map_of(rng)
    return Reads(words, there, None), MemoryMap(SPANNED, some.zones, pcp=some.pcp, max_pfn=END)
