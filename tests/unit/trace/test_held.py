# SPDX-License-Identifier: GPL-2.0-only
"""What the program of trace --outstanding finds out about the kernel before it is loaded."""

import struct

import pytest
from btf_builder import Builder

from pageinspect.target.symbols.btf import Btf, BtfKind
from pageinspect.trace.held import bulk_hooks, contiguous_hooks
from pageinspect.trace.hooks import HookKind


def kernel_with(function: str, *parameters: str) -> Btf:
    """Return BTF with one function whose parameters have these names."""
    b = Builder()
    number = b.integer("int", 4)
    extra = b"".join(struct.pack("<II", b.name(name), number) for name in parameters)
    prototype = b.add(BtfKind.FUNC_PROTO, "", number, extra, vlen=len(parameters))
    b.add(BtfKind.FUNC, function, prototype)
    return Btf(b.build())


BULK = ("gfp", "preferred_nid", "nodemask", "nr_pages")


@pytest.mark.parametrize(
    ("function", "parameters", "array"),
    [
        ("__alloc_pages_bulk", (*BULK, "page_list", "page_array"), "5"),
        ("alloc_pages_bulk_noprof", (*BULK, "page_list", "page_array"), "5"),
        ("alloc_pages_bulk_noprof", (*BULK, "page_array"), "4"),
    ],
)
def test_the_bulk_allocator_of_each_kernel(
    function: str, parameters: tuple[str, ...], array: str
) -> None:
    defines, hooks = bulk_hooks(kernel_with(function, *parameters))
    assert defines == {"BULK_ARRAY": array}
    assert [(h.function, h.kind, h.place, h.optional) for h in hooks] == [
        ("hold_bulk", HookKind.FEXIT, function, True),
        ("note_bulk", HookKind.FENTRY, function, True),
    ]


@pytest.mark.parametrize(
    "parameters", [(), ("nr_pages", "page_array"), (*BULK, "page_array", "more"), BULK]
)
def test_another_bulk_allocator_is_not_watched(parameters: tuple[str, ...]) -> None:
    assert bulk_hooks(kernel_with("alloc_pages_bulk_noprof", *parameters)) == ({}, [])


def test_the_innermost_allocator_of_ranges_is_watched() -> None:
    defines, (hook,) = contiguous_hooks(
        kernel_with("alloc_contig_range", "start", "end", "migratetype", "gfp_mask")
    )
    assert defines == {"CONTIGUOUS": "4"}
    assert (hook.kind, hook.place) == (HookKind.FEXIT, "alloc_contig_range")
    assert contiguous_hooks(kernel_with("other", "start", "end")) == ({}, [])
