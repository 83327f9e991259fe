# SPDX-License-Identifier: GPL-2.0-only
"""What scripts may write for names, pfns and addresses."""

import numpy as np
import pytest
from drgn import Architecture, Object, Platform, Program, TypeMember

from pageinspect.errors import UsageError
from pageinspect.inspector.arguments import address_text, names, pfn_texts

PROG = Program(Platform(Architecture.X86_64))
ULONG = PROG.int_type("unsigned long", 8, False)
PAGE = PROG.struct_type("page", 64, (TypeMember(ULONG, "flags"),))
FOLIO = PROG.struct_type("folio", 256, (TypeMember(ULONG, "flags"),))
PFN = PROG.typedef_type("pfn_t", ULONG)
AT = 0xFFFFEA0000040000


def test_names_are_a_list_or_a_text_with_commas() -> None:
    assert names("anon,file") == names(["anon", "file"]) == ("anon", "file")
    assert names("") == names(()) == ()


def test_pfns_are_texts_numbers_and_pairs() -> None:
    assert pfn_texts("zone:DMA32") == ["zone:DMA32"]
    assert pfn_texts("0x10,0x20") == ["0x10,0x20"]
    assert pfn_texts(np.int64(16)) == ["0x10"]
    assert pfn_texts((16, np.int64(32))) == ["0x10-0x20"]
    assert pfn_texts([16, 32]) == ["0x10", "0x20"]
    assert pfn_texts(("16", "32")) == ["16", "32"]
    assert pfn_texts([16, np.uint64(17), (0x20, 0x30), "phys:1M"]) == [
        *("0x10", "0x11", "0x20-0x30", "phys:1M")
    ]
    assert pfn_texts(()) == []


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (4096, "0x1000"),
        (np.int64(4096), "0x1000"),
        ("phys:16M", "phys:16M"),
        (Object(PROG, PROG.pointer_type(PAGE), value=AT), f"page:{AT:#x}"),
        (Object(PROG, PROG.pointer_type(FOLIO), value=AT), f"page:{AT:#x}"),
        (Object(PROG, PAGE, address=AT), f"page:{AT:#x}"),
        (Object(PROG, PFN, value=4096), "0x1000"),
    ],
)
def test_an_address_is_a_text_a_number_or_an_object(given: object, text: str) -> None:
    assert address_text(given) == text  # type: ignore[arg-type]


def test_other_objects_are_no_pages() -> None:
    inode = PROG.struct_type("inode", 8, (TypeMember(ULONG, "i_ino"),))
    for given in (
        Object(PROG, PROG.pointer_type(inode), value=AT),
        Object(PROG, inode, address=AT),
        Object(PROG, PROG.pointer_type(ULONG), value=AT),
    ):
        with pytest.raises(UsageError, match="is not a page"):
            address_text(given)
