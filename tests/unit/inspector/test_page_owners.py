# SPDX-License-Identifier: GPL-2.0-only
"""The owners of single pages, in a kernel made by hand."""

from typing import Any

import pytest
from owned_pages import OwnedPages

from pageinspect.inspector import owner_finder
from pageinspect.inspector.page_owners import owner_facts


def facts(made: OwnedPages, *pfns: int) -> dict[int, Any]:
    found, _ = owner_facts(made.inspector(), pfns)
    return {pfn: fact.value for pfn, (fact, *_) in found.items()}


def test_the_owners_of_single_pages(made: OwnedPages) -> None:
    known = {
        0x10: {"kind": "file", "name": "/big", "filesystem": "ext4 on vda"},
        0x2B: {"kind": "slab", "name": "dentry"},
        0x35: {
            "kind": "vmalloc",
            "name": "alloc_large_system_hash",
            "caller": "alloc_large_system_hash",
        },
        0x200: {"kind": "free", "name": "buddy"},
        0x3FE: {"kind": "free", "name": "buddy"},
        0x3FF: {"kind": "free", "name": "buddy"},
        0: {"kind": "unknown", "name": "idle, order 0, 0 references"},
    }
    assert facts(made, *known) == known
    for pfn, value in known.items():
        assert facts(made, pfn) == {pfn: value}


def test_structures_are_read_only_for_pages_that_need_them(
    made: OwnedPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def read(inspector: Any, fields: Any) -> Any:
        asked.append(tuple(fields))
        return made.read_structures(inspector, fields)

    monkeypatch.setattr(owner_finder, "read_structures", read)
    for pfn, needed in ((0x10, False), (0x2B, False), (0x200, False), (0x35, True), (0, True)):
        asked.clear()
        facts(made, pfn)
        # Where memory was allocated is of interest for every page.
        assert [fields != ("page_ext",) for fields in asked] == [needed], hex(pfn)


def test_the_text_of_an_owner(made: OwnedPages) -> None:
    found, problems = owner_facts(made.inspector(), [0x35, 0x10, 0x3D])
    assert problems == ()
    assert found[0x35][0].text == ("vmalloc:alloc_large_system_hash")
    assert found[0x10][0].text == "file:/big"
    assert found[0x3D][0].text == "stack:bash[812] (allocated by kernel_clone)"
