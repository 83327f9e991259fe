# SPDX-License-Identifier: GPL-2.0-only
"""Xarrays, followed in memory made by hand."""

import struct

import pytest
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.xarrays import XarrayWalk


class Arrays:
    def __init__(self) -> None:
        k = self.kernel = Kernel()
        self.array_type = k.struct("xarray", xa_flags=k.uint, xa_head=k.void_p)
        self.node_type = k.struct("xa_node", shift=k.char, slots=k.array(k.void_p, 64))

    def node(self, shift: int, **slots: int) -> int:
        """Return the entry that leads to a new node; slots are named i0, i1 and so on."""
        address = self.kernel.make(self.node_type, shift=shift)
        for name, entry in slots.items():
            self.kernel.write(address + 8 + 8 * int(name[1:]), struct.pack("<Q", entry))
        return address | 2

    def entries(self, head: int, most: int = 100) -> tuple[list[int], bool]:
        walk = XarrayWalk(self.kernel.prog, most)
        found = list(walk.entries(self.kernel.make(self.array_type, xa_head=head)))
        return found, walk.whole


def test_one_pointer_and_none() -> None:
    arrays = Arrays()
    assert arrays.entries(BASE) == ([BASE], True)
    assert arrays.entries(0) == ([], True)


def test_levels_in_the_order_of_indexes() -> None:
    arrays = Arrays()
    # 0x406 (257 << 2 | 2) is an entry of the xarray's own, not a node.
    low = arrays.node(0, i1=BASE + 0x10, i63=BASE + 0x20, i5=0x406)
    high = arrays.node(0, i0=BASE + 0x30)
    assert arrays.entries(arrays.node(6, i0=low, i9=high)) == (
        [BASE + 0x10, BASE + 0x20, BASE + 0x30],
        True,
    )


def test_no_more_entries_than_wanted() -> None:
    arrays = Arrays()
    head = arrays.node(0, i0=BASE, i1=BASE + 8, i2=BASE + 16)
    # The node counts as well.
    assert arrays.entries(head, 3) == ([BASE, BASE + 8], False)
    assert arrays.entries(head, 4) == ([BASE, BASE + 8, BASE + 16], True)


def test_a_node_that_leads_back_or_cannot_be_read_leaves_the_others() -> None:
    arrays = Arrays()
    inner = arrays.node(0, i0=BASE)
    outer = arrays.node(6, i1=inner, i2=(BASE + (1 << 30)) | 2)
    arrays.kernel.write(outer - 2 + 8, struct.pack("<Q", outer))
    assert arrays.entries(outer) == ([BASE], False)
    walk = XarrayWalk(arrays.kernel.prog, 9)
    assert (list(walk.entries(BASE + (1 << 30))), walk.whole) == ([], False)


def test_a_kernel_without_the_types() -> None:
    with pytest.raises(LookupError):
        XarrayWalk(Kernel().prog, 1)
