# SPDX-License-Identifier: GPL-2.0-only
"""Migratetypes of pageblocks, in memory made by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
from drgn import offsetof, sizeof
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel import pageblocks as pageblocks_module
from pageinspect.kernel.pageblocks import read_pageblocks
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.arch import SECTION_PFNS
from pageinspect.model.pageblocks import UNKNOWN

OLD_BITS = ("PB_migrate", "PB_x", "PB_migrate_end", "PB_migrate_skip", "NR_PAGEBLOCK_BITS")
NEW_BITS = (
    *("PB_migrate_0", "PB_migrate_1", "PB_migrate_2", "PB_compact_skip"),
    *("PB_migrate_isolate", "__NR_PAGEBLOCK_BITS"),
)
TYPES = ("UNMOVABLE", "MOVABLE", "RECLAIMABLE", "HIGHATOMIC", "ISOLATE", "TYPES")
BLOCKS = SECTION_PFNS >> 9


def made(
    monkeypatch: pytest.MonkeyPatch, bits: Sequence[str], *sections: bytes, order: int = 9
) -> Kernel:
    """Return a kernel with pageblock flags of sections 2, 0, 1 and so on, one after another."""
    kernel = Kernel()
    kernel.enum("pageblock_bits", bits)
    kernel.enum("migratetype", [f"MIGRATE_{name}" for name in TYPES])
    kernel.enum("node_stat_item", ["NR_FILE_PAGES", "NR_KERNEL_STACK_KB"])
    kernel.struct("hstate", order=kernel.uint)
    usage = kernel.struct(
        "mem_section_usage",
        subsection_map=kernel.ulong,
        pageblock_flags=kernel.array(kernel.ulong, 0),
    )
    section = kernel.struct("mem_section", section_mem_map=kernel.ulong, usage=kernel.void_p)
    start = offsetof(usage, "pageblock_flags")
    numbers = [2, 0, 1, 3][: len(sections)]
    words = np.zeros((len(sections), sizeof(section) // 8), np.uint64)
    for row, flags in enumerate(sections):
        address = kernel.room(start + len(flags), 8)
        kernel.write(address + start, flags)
        words[row, 1] = address
    firsts = np.array(numbers, np.int64) * SECTION_PFNS
    monkeypatch.setattr(pageblocks_module, "sections_with_pages", lambda _: (firsts, words))
    return kernel


def test_four_bits_each(monkeypatch: pytest.MonkeyPatch) -> None:
    # The low nibble is first; bit 3 is not part of the type.
    flags = bytes([0x91, 0x24] + [0x11] * (BLOCKS // 2 - 2))
    found = read_pageblocks(made(monkeypatch, OLD_BITS, bytes(32), flags).prog)
    assert found.order == 9
    assert found.names == ("unmovable", "movable", "reclaimable", "highatomic", "isolate")
    assert found.firsts.tolist() == [0, 2 * SECTION_PFNS]
    assert found.types[0, :6].tolist() == [1, 1, 4, 2, 1, 1]
    assert not found.types[1].any()
    pfns = np.array([511, 512, 1024, SECTION_PFNS, 2 * SECTION_PFNS, 9 * SECTION_PFNS])
    assert found.of(pfns).tolist() == [1, 1, 4, UNKNOWN, 0, UNKNOWN]


def test_a_bit_for_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    # Eight bits each, of which five are used: 0x10 is isolation, 0x08 the skip bit.
    flags = bytes([0x01, 0x12, 0x0A] + [0x03] * (BLOCKS - 3))
    found = read_pageblocks(made(monkeypatch, NEW_BITS, flags, bytes(64)).prog)
    assert found.order == 9
    names = [found.names[n] for n in found.types[1, :4].tolist()]
    assert names == ["movable", "isolate", "reclaimable", "highatomic"]


def test_the_order_is_that_of_neighbouring_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = made(monkeypatch, OLD_BITS, bytes([0x21] * 16), bytes(16))
    found = read_pageblocks(kernel.prog)
    assert found.order == 10
    assert found.types.shape == (2, SECTION_PFNS >> 10)
    assert found.of(np.array([0, 1023, 1024])).tolist() == [0, 0, 0]
    assert found.of(np.array([0, 1023, 1024]) + 2 * SECTION_PFNS).tolist() == [1, 1, 2]


@pytest.mark.parametrize(("length", "order"), [(SECTION_PFNS >> 4, 3), (SECTION_PFNS >> 3, 9)])
def test_the_order_has_a_bound(monkeypatch: pytest.MonkeyPatch, length: int, order: int) -> None:
    kernel = made(monkeypatch, OLD_BITS, bytes(length), bytes(length))
    assert read_pageblocks(kernel.prog).order == order


def test_one_section_has_pageblocks_of_a_huge_page(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_pageblocks(made(monkeypatch, OLD_BITS, bytes(32)).prog).order == 9


def test_what_cannot_be_read_or_is_no_type(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = made(monkeypatch, OLD_BITS, bytes([0x75] * 32), bytes(32), bytes(32))
    _, words = pageblocks_module.sections_with_pages(kernel.prog)
    words[1, 1] = BASE + (1 << 30)
    found = read_pageblocks(kernel.prog)
    assert found.unreadable == 1
    assert set(found.types[2].tolist()) == {UNKNOWN}
    assert set(found.types[0].tolist()) == {UNKNOWN}
    assert not found.types[1].any()


def test_kernels_with_the_bits_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = made(monkeypatch, OLD_BITS, bytes(32))
    kernel.enum("node_stat_item", ["NR_FILE_PAGES"])
    with pytest.raises(MissingStructureError, match="order of bits"):
        read_pageblocks(kernel.prog)
