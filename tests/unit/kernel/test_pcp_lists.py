# SPDX-License-Identifier: GPL-2.0-only
"""Free lists, followed in memory made by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drgn import Architecture, Object, Platform, Program, TypeMember
from synthetic import MEMDESC, MODERN, SIZE, VMEMMAP

from pageinspect.inspector import inspector as inspector_module
from pageinspect.kernel import pcp_lists
from pageinspect.model.layout import PageLayout
from pageinspect.model.memory_map import TRYLOCK, MemoryMap, PcpLists
from pageinspect.model.provenance import GuestState, Provenance
from pageinspect.target.open import Target

ZONE = 0xFFFF888000001000
PAGES = 64
LAYOUT = replace(MODERN, trylock=(8, 40))


def lists(
    of: dict[int, int],
    *,
    first: int,
    layout: PageLayout = LAYOUT,
    order: int = 0,
    pages: int = PAGES,
    reads: list[int] | None = None,
) -> PcpLists:
    """Follow a trylock list that begins at struct page `first` and goes on as `of` says.

    Links are pfns; 0 is the end. The order of each block is its pfn modulo 4, plus `order`. Where
    whole pages of struct pages are read is added to `reads`.
    """
    words = np.zeros((pages, SIZE // 8), np.uint64)
    for pfn, following in of.items():
        words[pfn, 1] = link(following)
        words[pfn, 5] = pfn % 4 + order
    memory = {VMEMMAP: words.tobytes(), ZONE: link(first).to_bytes(4096, "little")}
    prog = Program(Platform(Architecture.X86_64))
    for address, data in memory.items():

        def read(
            place: int, n: int, at: int, _: bool, data: bytes = data, address: int = address
        ) -> bytes:
            if reads is not None and n == 4096 and address == VMEMMAP:
                reads.append(place)
            return data[at : at + n]

        prog.add_memory_segment(address, len(data), read)
    node = prog.pointer_type(prog.void_type())
    head = prog.struct_type("llist_head", 8, (TypeMember(node, "first"),))
    zone = prog.struct_type("zone", 8, (TypeMember(head, "trylock_free_pages"),))
    return pcp_lists.PcpReader(prog, layout).read([Object(prog, zone, address=ZONE)])


def link(pfn: int) -> int:
    return VMEMMAP + pfn * SIZE + 8 if pfn else 0


@pytest.fixture(autouse=True)
def _no_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcp_lists, "for_each_possible_cpu", lambda _prog: [])


def test_a_trylock_list_ends_with_null_and_each_block_has_its_order() -> None:
    found = lists({9: 5, 5: 30, 30: 0}, first=9)
    assert found.pfns.tolist() == [5, 9, 30]
    assert found.orders.tolist() == [1, 1, 2]
    assert set(found.cpus.tolist()) == {TRYLOCK}
    assert (found.counted, found.whole) == (0, True)


@pytest.mark.parametrize("length", [2, 3, 7, 8, 50])
def test_a_list_that_leads_round_has_each_block_once(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[int] = []
    add = pcp_lists.PcpReader._add

    def count(self: pcp_lists.PcpReader, pfns: list[int], *rest: Any) -> None:
        followed.extend(pfns)
        add(self, pfns, *rest)

    monkeypatch.setattr(pcp_lists.PcpReader, "_add", count)
    leads = {pfn: pfn + 1 for pfn in range(1, 9)} | {8 + length: 9}
    leads |= {pfn: pfn + 1 for pfn in range(9, 8 + length)}
    found = lists(leads, first=1)
    assert found.pfns.tolist() == list(range(1, 9 + length))
    assert found.orders.tolist() == [pfn % 4 for pfn in range(1, 9 + length)]
    assert not found.whole
    assert len(followed) < 4 * (8 + length)


def test_a_page_on_two_lists_of_a_cpu_is_counted_twice() -> None:
    reader = pcp_lists.PcpReader(None, MODERN)  # type: ignore[arg-type]
    for order, cpu in ((3, 0), (0, 1), (0, 0), (0, 0)):
        reader._add([9], order, cpu)
    found = reader.read([])
    assert (found.orders.tolist(), found.cpus.tolist()) == ([0, 0, 3], [0, 1, 0])


def test_struct_pages_that_are_kept_are_few_and_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcp_lists, "_MAX_PAGES", 1)
    pages = 4096 // SIZE
    order = [*range(1, 8), pages + 1, 8, pages + 2, 9]
    leads = dict(zip(order, [*order[1:], 0], strict=True))
    reads: list[int] = []
    found = lists(leads, first=1, pages=2 * pages, reads=reads)
    assert found.pfns.tolist() == sorted(order)
    # There and back, twice: one page is kept.
    assert reads == [VMEMMAP, VMEMMAP + 4096] * 2 + [VMEMMAP]


def test_lists_whose_links_nothing_tells_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcp_lists, "for_each_possible_cpu", lambda _prog: [0])
    reader = pcp_lists.PcpReader(None, MEMDESC)  # type: ignore[arg-type]
    found = reader.read([None])  # type: ignore[list-item]
    assert (found.pfns.tolist(), found.whole) == ([], False)


def test_an_empty_list_and_a_kernel_without() -> None:
    assert lists({}, first=0) == PcpLists()
    assert lists({9: 0}, first=9, layout=MODERN) == PcpLists()


def test_an_order_that_no_block_has() -> None:
    assert lists({8: 0}, first=8, order=10).orders.tolist() == [10]
    assert lists({9: 0}, first=9, order=10) == PcpLists(whole=False)


@pytest.mark.parametrize("following", [1 << 30, 9])
def test_a_list_that_leads_astray_or_round_is_not_whole(
    following: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pcp_lists, "_LONGEST_LIST", 16)
    found = lists({9: following}, first=9)
    assert not found.whole
    assert set(found.pfns.tolist()) <= {9, 1 << 30}


@pytest.mark.parametrize(
    ("source", "guest", "changing"),
    [
        ("live", None, True),
        ("core", None, False),
        ("qemu", GuestState(paused=True, denied=""), False),
        ("qemu", GuestState(paused=False, denied=""), True),
    ],
)
def test_it_is_known_whether_the_kernel_runs(
    monkeypatch: pytest.MonkeyPatch, source: Any, guest: GuestState | None, changing: bool
) -> None:
    def take(*_args: object, changing: bool, max_sections: object) -> MemoryMap:
        return MemoryMap((), (), changing=changing)

    monkeypatch.setattr(inspector_module, "build_layout", lambda *_args: MODERN)
    monkeypatch.setattr(inspector_module, "read_memory_map", take)
    target = Target(Program(), Provenance("7.3", source, "btf", guest=guest), {})
    assert inspector_module.inspect(target).memory_map.changing is changing
