# SPDX-License-Identifier: GPL-2.0-only
"""The JSON of a snapshot's kernel: it has everything, and other texts are refused."""

import json
from dataclasses import replace

import pytest

from pageinspect.model.memory_map import Zone
from pageinspect.model.page_types import (
    BITS_5_11,
    MemdescScheme,
    byte_scheme,
    low_scheme,
    memdesc_scheme,
)
from pageinspect.model.provenance import GuestState, Provenance
from pageinspect.model.saved_kernel import SavedKernel, SavedProcesses

FULL = SavedKernel(
    Provenance("7.3.0", "qemu", "btf", "a reason", ("a note",), GuestState(True, ""), False),
    12,
    byte_scheme({"buddy": 0xF0, "table": 0xF2}, off_by_one=True),
    {"hugetlb": "dtor"},
    (("locked", 0), ("head", 6)),
    ("slab",),
    True,
    ("freeing",),
    7,
    1023,
    (Zone(0, "DMA", 1, 4096), Zone(1, "Normal", 1 << 20, 1 << 21, 2)),
    ("DMA", "DMA32", "Normal"),
    ((1 << 22, 1 << 23),),
    9,
    ("unmovable", "movable"),
    {"owners": ("Lost.",), "contiguity": ()},
    (("vmalloc", "stack", 4),),
    SavedProcesses(100, 2, ("No.",), 60, 1),
    1 << 15,
)
PLAIN = replace(
    FULL,
    provenance=Provenance("6.1", "core", "dwarf"),
    scheme=low_scheme("bits", BITS_5_11, "vmcoreinfo"),
    frozen=None,
    resets=None,
    pageblock_order=None,
    processes=None,
    memory_block_pages=None,
)


@pytest.mark.parametrize("kernel", [FULL, PLAIN, replace(FULL, scheme=memdesc_scheme({"slab": 3}))])
def test_json_has_everything(kernel: SavedKernel) -> None:
    again = SavedKernel.from_json(kernel.to_json())
    assert again == kernel
    assert isinstance(again.scheme, MemdescScheme) == (kernel.scheme.name == "memdesc")


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", "null", '"text"', "[" * 100_000])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the kernel of a snapshot"):
        SavedKernel.from_json(text)


@pytest.mark.parametrize("name", json.loads(FULL.to_json()))
@pytest.mark.parametrize("value", [-7, 3.5, "text", {"a": {}}, [[1]]])
def test_a_field_of_another_type_is_refused(name: str, value: object) -> None:
    fields = json.loads(FULL.to_json())
    if isinstance(fields[name], str) and isinstance(value, str) and name != "source":
        value = 7
    with pytest.raises(ValueError, match="not the kernel of a snapshot"):
        SavedKernel.from_json(json.dumps({**fields, name: value}))


def test_the_size_of_memory_blocks_may_be_missing() -> None:
    fields = json.loads(FULL.to_json())
    del fields["memory_block_pages"]
    assert SavedKernel.from_json(json.dumps(fields)) == replace(FULL, memory_block_pages=None)
