# SPDX-License-Identifier: GPL-2.0-only
"""The tree of /proc/iomem, made by hand."""

from typing import Any

import pytest
from kernel_by_hand import Kernel

from pageinspect.kernel import resources
from pageinspect.kernel.resources import read_resources
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.kernel_memory import Resources

GONE = 0xFFFF8FFFFFFFF000


class Tree:
    def __init__(self) -> None:
        self.kernel = k = Kernel()
        self.type = k.struct(
            "resource",
            start=k.ulong,
            end=k.ulong,
            name=k.void_p,
            flags=k.ulong,
            sibling=k.void_p,
            child=k.void_p,
        )
        self.root = k.variable("iomem_resource", self.type)

    def add(self, start: int, end: int, name: str, **links: int) -> int:
        return self.kernel.make(
            self.type, start=start, end=end, name=self.kernel.text(name), **links
        )

    def read(self, **root: Any) -> Resources:
        self.kernel.make(self.type, at=self.root, **root)
        return read_resources(self.kernel.prog)


def test_a_parent_comes_before_its_parts_and_these_before_its_neighbour() -> None:
    tree = Tree()
    last = tree.add(0x100000000, (1 << 64) - 1, "PCI Bus 0000:00")
    data = tree.add(0x2000000, 0x20FFFFF, "Kernel data")
    code = tree.add(0x1000000, 0x1F8805E, "Kernel code", sibling=data)
    ram = tree.add(0x100000, 0x7FFDCFFF, "System RAM", child=code, sibling=last)
    first = tree.add(0x9FC00, 0x9FFFF, "Reserved", sibling=ram)
    found = tree.read(child=first)
    assert (found.whole, found.unreadable) == (True, 0)
    assert [(r.name, r.depth, r.start_pfn, r.end_pfn) for r in found.resources] == [
        ("Reserved", 0, 0x9F, 0xA0),
        ("System RAM", 0, 0x100, 0x7FFDD),
        ("Kernel code", 1, 0x1000, 0x1F89),
        ("Kernel data", 1, 0x2000, 0x2100),
        ("PCI Bus 0000:00", 0, 0x100000, 1 << 52),
    ]
    assert (found.resources[0].start, found.resources[0].end) == (0x9FC00, 0xA0000)


def test_a_tree_that_leads_round_is_not_whole() -> None:
    tree = Tree()
    first = tree.add(0, 1, "a")
    for link in ("child", "sibling"):
        tree.kernel.set(tree.type, first, link, first)
    found = tree.read(child=first)
    assert [r.name for r in found.resources] == ["a"]
    assert not found.whole


def test_parts_that_cannot_be_read_are_counted() -> None:
    tree = Tree()
    found = tree.read(child=tree.add(0, 4095, "a", child=GONE, sibling=tree.add(8, 9, "b")))
    assert [r.name for r in found.resources] == ["a", "b"]
    assert (found.whole, found.unreadable) == (False, 1)


def test_a_name_that_cannot_be_read_is_counted_and_a_long_one_is_cut() -> None:
    tree = Tree()
    last = tree.add(4096, 8191, "x" * 5000)
    first = tree.add(0, 4095, "a", sibling=last)
    tree.kernel.set(tree.type, first, "name", 0)
    found = tree.read(child=first)
    assert [r.name for r in found.resources] == ["", "x" * 256]
    assert (found.whole, found.unreadable) == (True, 1)


def test_resources_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_MAX", 1)
    tree = Tree()
    found = tree.read(child=tree.add(0, 1, "a", sibling=tree.add(2, 3, "b")))
    assert ([r.name for r in found.resources], found.whole) == (["a"], False)


def test_an_empty_tree_and_a_kernel_without() -> None:
    assert Tree().read() == Resources()
    with pytest.raises(MissingStructureError, match="no known iomem_resource"):
        read_resources(Kernel().prog)
