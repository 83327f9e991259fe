# SPDX-License-Identifier: GPL-2.0-only
"""The code that allocated pages, in memory made by hand."""

import pytest
from allocations_by_hand import depot, handle_of_stack
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.owner_names.allocations import AllocationNames, caller_of
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.allocations import ALLOCATED_AT, AllocationTag
from pageinspect.model.kernel_memory import Modules

CODE = 0xFFFFFFFF81000000


def tagged(kernel: Kernel, **values: int) -> int:
    type_ = kernel.struct(
        "codetag",
        flags=kernel.uint,
        lineno=kernel.uint,
        modname=kernel.void_p,
        function=kernel.void_p,
        filename=kernel.void_p,
    )
    return kernel.make(type_, **values)


def test_tags() -> None:
    kernel = Kernel()
    function, file = kernel.text("alloc_ring"), kernel.text("drivers/net/ring.c")
    in_kernel = tagged(kernel, function=function, filename=file, lineno=17)
    module = kernel.text("m" * 300)
    in_module = tagged(kernel, function=function, filename=file, lineno=18, modname=module)
    damaged = tagged(kernel, function=function, filename=BASE + (1 << 30))
    names = AllocationNames(kernel.prog, Modules())
    assert names.names([in_kernel, in_module, damaged, in_kernel]) == [
        "alloc_ring (drivers/net/ring.c:17)",
        f"alloc_ring [{'m' * 256}] (drivers/net/ring.c:18)",
        "unreadable",
        "alloc_ring (drivers/net/ring.c:17)",
    ]
    assert names.unreadable == 1
    assert names.tag(in_kernel) == AllocationTag("alloc_ring", "drivers/net/ring.c", 17, "")


def test_stacks() -> None:
    kernel = Kernel()
    kernel.symbols({"__alloc_pages_noprof": (CODE, 0x100), "ring_open": (CODE + 0x100, 0x100)})
    # The second frame returns to the end of its function.
    depot(kernel, {0: (CODE + 8, CODE + 0x200), 80: ()}, "pool_index_plus_1", plus_1=True)
    names = AllocationNames(kernel.prog, Modules())
    handles = [handle_of_stack(place, plus_1=True) for place in (0, 80, 300)]
    assert names.names([ALLOCATED_AT | handle for handle in handles]) == [
        "ring_open via __alloc_pages_noprof",
        "unreadable",
        "unreadable",
    ]
    assert names.stack(handles[0]) == ("__alloc_pages_noprof", "ring_open")
    assert names.unreadable == 2


@pytest.mark.parametrize(
    ("stack", "name"),
    [
        (("get_page_from_freelist", "__alloc_pages_noprof", "f", "g"),
         "f via __alloc_pages_noprof"),
        (("__alloc_pages", "alloc_pages_mpol", "f"), "f via alloc_pages_mpol"),
        (("__alloc_frozen_pages_noprof", "___kmalloc_large_node", "__kmalloc_noprof", "f"),
         "f via __kmalloc_noprof"),
        (("__alloc_pages.constprop.0", "get_zeroed_page_noprof", "f"),
         "f via get_zeroed_page_noprof"),
        (("alloc_pages_exact_noprof", "alloc_buffer", "f"),
         "alloc_buffer via alloc_pages_exact_noprof"),
        (("__alloc_pages", "kmalloc_reserve", "__alloc_skb"), "kmalloc_reserve via __alloc_pages"),
        (("f", "__alloc_pages"), "f"),
        (("__alloc_pages",), "__alloc_pages"),
        (("post_alloc_hook", "0xffffffffc0001234 [ring]"),
         "0xffffffffc0001234 [ring] via post_alloc_hook"),
    ],
)  # fmt: skip
def test_who_called_the_allocator(stack: tuple[str, ...], name: str) -> None:
    assert caller_of(stack) == name


def test_kernels_without_the_types() -> None:
    names = AllocationNames(Kernel().prog, Modules())
    with pytest.raises(MissingStructureError, match="allocation tags"):
        names.name(CODE)
    with pytest.raises(MissingStructureError, match="stack depot"):
        names.name(ALLOCATED_AT | 1)
