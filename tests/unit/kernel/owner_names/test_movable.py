# SPDX-License-Identifier: GPL-2.0-only
"""Drivers of movable pages, in memory made by hand."""

import pytest
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.owner_names.movable import MovableNames
from pageinspect.kernel.structures import MissingStructureError

BEYOND = BASE + (1 << 30)
TAG = 2


def kernel_with_modules() -> Kernel:
    kernel = Kernel()
    memory = kernel.struct("module_memory", base=kernel.void_p, size=kernel.uint)
    module = kernel.struct(
        "module",
        state=kernel.enum("module_state", ["MODULE_STATE_LIVE", "MODULE_STATE_UNFORMED"]),
        list=kernel.list_head,
        name=kernel.array(kernel.char, 56),
        mem=kernel.array(memory, 2),
    )
    kernel.enum("mod_mem_type", ["MOD_TEXT", "MOD_DATA"])
    head = kernel.ring(module, kernel.make(module, name=b"zsmalloc"))
    kernel.variable("modules", kernel.list_head, at=head)
    kernel.symbols({"balloon_mops": (BASE + 0x1000, 0x30)})
    return kernel


def test_operations() -> None:
    kernel = kernel_with_modules()
    kernel.struct("movable_operations", isolate_page=kernel.void_p)
    reader = MovableNames(kernel.prog)
    assert reader.names([BASE + 0x1000 + TAG, BASE + 0x5000 + TAG]) == [
        "balloon_mops",
        hex(BASE + 0x5000),
    ]


def test_operations_of_a_mapping() -> None:
    kernel = kernel_with_modules()
    mapping = kernel.struct("address_space", host=kernel.void_p, a_ops=kernel.void_p)
    words = [kernel.make(mapping, a_ops=BASE + 0x1000) + TAG, BEYOND + TAG]
    reader = MovableNames(kernel.prog)
    assert reader.names(words) == ["balloon_mops", "unreadable"]
    assert reader.unreadable == 1


def test_a_kernel_without_modules_or_types() -> None:
    with pytest.raises(MissingStructureError, match="list of modules"):
        MovableNames(Kernel().prog)
    with pytest.raises(MissingStructureError, match="drivers of movable pages"):
        MovableNames(kernel_with_modules().prog)
