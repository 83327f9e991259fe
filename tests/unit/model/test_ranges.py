# SPDX-License-Identifier: GPL-2.0-only
"""pfn ranges as users write them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageinspect.errors import UsageError
from pageinspect.model.memory_map import MemoryMap, Zone
from pageinspect.model.range_text import resolve
from pageinspect.model.ranges import cut, intersect, merge, without

MEMORY_MAP = MemoryMap(
    spanned=((0, 0x8000), (0x10000, 0x20000)),
    zones=(
        Zone(0, "DMA", 1, 0x1000),
        Zone(0, "DMA32", 0x1000, 0x12000),
        Zone(1, "Normal", 0x12000, 0x20000),
        Zone(2, "Device", 0x7000, 0x1A000),
    ),
    devices=((0x7000, 0x7200), (0x19000, 0x1A000)),
)


def test_an_address_is_not_a_pfn() -> None:
    with pytest.raises(UsageError, match="is an address, not a pfn") as error:
        resolve(["0xffffea0000123440+1"], MEMORY_MAP, 12)
    assert "page:ADDRESS" in error.value.hint


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], [(0, 0x8000), (0x10000, 0x20000)]),
        (["0x100-0x200"], [(0x100, 0x200)]),
        (["256,512"], [(256, 512)]),
        (["0x100+16"], [(0x100, 0x110)]),
        (["77"], [(77, 78)]),
        (["010"], [(10, 11)]),
        (["phys:0x100000"], [(0x100, 0x101)]),
        (["phys:0x100001-0x101001"], [(0x100, 0x102)]),
        (["phys:0x1000000+0x2000000"], [(0x1000, 0x3000)]),
        (["phys:0x1000000+2M"], [(0x1000, 0x1200)]),
        (["phys:4K+8K"], [(1, 3)]),
        (["phys:16M,0x12M"], [(0x1000, 0x1200)]),
        (["phys:256M+1T"], [(0x10000, 0x20000)]),
        (["0x10-0x20", "0x18-0x30"], [(0x10, 0x30)]),
        (["0x7fff-0x10001"], [(0x7FFF, 0x8000), (0x10000, 0x10001)]),
        (["zone:dma"], [(1, 0x1000)]),
        (["zone:DMA32"], [(0x1000, 0x8000), (0x10000, 0x12000)]),
        (["node:1"], [(0x12000, 0x20000)]),
        (["zone:Device"], [(0x7000, 0x7200), (0x19000, 0x1A000)]),
        (["node:2"], [(0x7000, 0x7200), (0x19000, 0x1A000)]),
    ],
)
def test_resolve(texts: list[str], expected: list[tuple[int, int]]) -> None:
    assert resolve(texts, MEMORY_MAP, 12) == expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("nonsense", "not a pfn range", "START-END"),
        ("1-", "not a pfn range", "START-END"),
        ("-5", "not a pfn range", "START-END"),
        ("0_1__", "not a pfn range", "START-END"),
        ("0x_", "not a pfn range", "START-END"),
        ("9" * 5000, "not a pfn range", "START-END"),
        ("0x100+2M", "has a unit", "phys:"),
        ("phys:0x100+2X", "not a pfn range", "phys:0x40000000+2M"),
        ("phys:M", "not a pfn range", "START-END"),
        ("0x8000", "no pfn of 0x8000", "its last pfn is 0x7fff"),
        ("5-5", "is empty", "exclusive"),
        ("9-5", "is empty", "exclusive"),
        ("1+0", "is empty", "exclusive"),
        ("0x9000-0x9100", "no pfn of", "0x0-0x8000 (the end is exclusive: its last pfn is 0x7fff)"),
        ("0xffff", "no pfn of", "0x10000-0x20000"),
        ("0x99999999999", "no pfn of", "0x10000-0x20000"),
        ("zone:HighMem", "no zone", "DMA, DMA32, Device, Normal"),
        ("node:7", "no node", "0, 1, 2"),
    ],
)
def test_bad_ranges(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve([text], MEMORY_MAP, 12)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_merge_and_intersect() -> None:
    assert merge([(5, 9), (1, 3), (3, 4), (8, 12), (20, 20)]) == [(1, 4), (5, 12)]
    assert intersect([(0, 10), (20, 30)], [(5, 25)]) == [(5, 10), (20, 25)]


@given(st.text(alphabet="0123456789abcdefxX+-,:_ physzonede", max_size=30))
def test_any_text_is_a_range_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        for start, end in resolve([text], MEMORY_MAP, 12):
            assert 0 <= start < end


def test_cut_at_multiples() -> None:
    ranges = [(3, 9), (10, 11), (14, 30)]
    assert cut(ranges, 8) == [[(3, 8)], [(8, 9), (10, 11), (14, 16)], [(16, 24)], [(24, 30)]]
    assert cut(ranges, 100) == [ranges]
    assert cut([], 8) == []


def test_without() -> None:
    assert without([(0, 10), (20, 30)], []) == [(0, 10), (20, 30)]
    assert without([], [(0, 10)]) == []


some_ranges = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6).map(merge)


@given(some_ranges, some_ranges)
def test_without_as_sets(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    found = without(left, right)
    pfns, others, result = (
        {p for r in ranges for p in range(*r)} for ranges in (left, right, found)
    )
    assert result == pfns - others
    assert merge(found) == found
