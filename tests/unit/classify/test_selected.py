# SPDX-License-Identifier: GPL-2.0-only
"""What a script gets of the pages that it asks for: those, and no others of their section."""

from dataclasses import replace

import numpy as np
import pytest
from drgn import Architecture, Platform, PlatformFlags, Program
from synthetic import MODERN, SIZE, VMEMMAP, Memory

from pageinspect.classify.selected import SelectedPages
from pageinspect.inspector.inspector import Inspector
from pageinspect.model.memory_map import MemoryMap
from pageinspect.model.provenance import Provenance
from pageinspect.target.open import Target

N = 64


@pytest.fixture
def inspector() -> Inspector:
    """A kernel of 64 pages: a free block of 8, a compound page of 8, and single pages."""
    memory = Memory(N).free_block(8, 3).compound(16, 3).word(16, 0xF5000000)
    for i in range(24, N):
        memory.word(i, 0xFFFFFFFF, refcount=i)
    data = memory.words.tobytes()
    little = PlatformFlags.IS_64_BIT | PlatformFlags.IS_LITTLE_ENDIAN
    prog = Program(Platform(Architecture.X86_64, little))
    prog.add_memory_segment(
        VMEMMAP + memory.first * SIZE,
        len(data),
        lambda _address, count, offset, _physical: data[offset : offset + count],
    )
    memory_map = MemoryMap(((memory.first, memory.first + N),), ())
    return Inspector(Target(prog, Provenance("7.3", "core", "btf"), {}), MODERN, memory_map)


def test_a_range_gives_its_own_pages_alone(inspector: Inspector) -> None:
    (pages,) = inspector.pages(inspector.ranges("0x100c+6"))
    assert len(pages) == 6
    assert pages.pfns.tolist() == list(range(0x100C, 0x1012))
    # The heads of both lie outside or at the start of what was asked for.
    assert [inspector.use_name(use) for use in pages.use] == ["buddy"] * 4 + ["slab"] * 2
    assert pages.order.tolist() == [3] * 6
    assert pages.head.tolist() == [False] * 4 + [True, False]
    assert pages.heads.tolist() == [*range(0x100C, 0x1010), 0x1010, 0x1010]
    assert pages.own(MODERN.private).tolist() == [0] * 6
    assert pages.head_flag("head").tolist() == [False] * 4 + [True] * 2
    assert pages.flag("head").tolist() == [False] * 4 + [True, False]
    assert pages.readable is None


def test_two_ranges_of_one_section(inspector: Inspector) -> None:
    (pages,) = inspector.pages(inspector.ranges("0x1020+2", "0x1030+3"))
    assert pages.refcount.tolist() == [0x20, 0x21, 0x30, 0x31, 0x32]
    assert (pages.of_head(MODERN.refcount - 4) >> np.uint64(32)).tolist() == [32, 33, 48, 49, 50]


def test_runs_are_of_the_range_as_well(inspector: Inspector) -> None:
    (runs,) = inspector.runs(inspector.ranges("0x100a+4"), "use")
    assert (runs.pfns.tolist(), runs.lengths.tolist()) == ([0x100A], [4])
    assert [inspector.use_name(use) for use in runs.use] == ["buddy"]


def test_all_pages_are_all(inspector: Inspector) -> None:
    (pages,) = inspector.pages()
    assert len(pages) == N
    assert pages.lengths.tolist() == [1] * N


def test_pages_that_cannot_be_read() -> None:
    memory = Memory(4)
    memory.readable = np.array([True, False, True, True])
    decoded = memory.pages()
    decoded.batch = replace(decoded.batch, wanted=np.array([False, True, True, False]))
    readable = SelectedPages(decoded).readable
    assert readable is not None
    assert readable.tolist() == [False, True]
