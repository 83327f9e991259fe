# SPDX-License-Identifier: GPL-2.0-only
"""BTF read into drgn types: every kind, and bytes that are no BTF."""

import struct

import drgn
import pytest
from btf_builder import Builder, small
from drgn import Architecture, Platform, Program, TypeKind
from hypothesis import given
from hypothesis import strategies as st

from pageinspect.target.symbols.btf import Btf, BtfError, BtfKind
from pageinspect.target.symbols.btf_types import BtfTypes


@pytest.fixture
def prog() -> Program:
    return Program(Platform(Architecture.X86_64))


def test_members_of_unnamed_unions(prog: Program) -> None:
    types = BtfTypes(prog, Btf(small().build()))
    page = types.find({TypeKind.STRUCT}, "page")
    assert page is not None
    assert drgn.sizeof(page) == 16
    assert drgn.offsetof(page, "_mapcount") == 8
    assert page.member("page_type").type.size == 4
    assert types.find({TypeKind.UNION}, "page") is None
    assert types.find({TypeKind.STRUCT}, "pag") is None
    assert types.find({TypeKind.STRUCT}, "age") is None


def test_enumerators(prog: Program) -> None:
    btf = Btf(small().build())
    flags = BtfTypes(prog, btf).find({TypeKind.ENUM}, "pageflags")
    assert flags is not None
    assert [(e.name, e.value) for e in flags.enumerators or ()] == [
        ("PG_locked", 0),
        ("PG_head", 6),
    ]
    assert btf.find_enumerator("PG_head") == (7, 6)
    assert btf.find_enumerator("flags") is None
    assert btf.find_enumerator("PG_hea") is None


def test_functions_are_found_by_name() -> None:
    b = small()
    prototype = b.add(BtfKind.FUNC_PROTO, "", 0)
    b.add(BtfKind.TYPEDEF, "free_pages", prototype)
    b.struct("zone", 8, [("free_pages", 1, 0)])
    function = b.add(BtfKind.FUNC, "free_pages", prototype)
    btf = Btf(b.build())
    assert btf.find_function("free_pages") == function
    assert btf.find_function("free_page") is None
    assert btf.find_function("page_t") is None


def test_signed_and_wide_enums() -> None:
    b = Builder()
    b.add(BtfKind.ENUM, "s", 4, struct.pack("<II", b.name("MINUS"), 0xFFFFFF80), vlen=1, flag=True)
    b.add(BtfKind.ENUM64, "w", 8, struct.pack("<III", b.name("WIDE"), 1, 2), vlen=1)
    b.add(
        BtfKind.ENUM64,
        "m",
        8,
        struct.pack("<III", b.name("M1"), 2**32 - 1, 2**32 - 1),
        vlen=1,
        flag=True,
    )
    btf = Btf(b.build())
    assert btf.find_enumerator("MINUS") == (1, -128)
    assert btf.find_enumerator("WIDE") == (2, 1 | 2 << 32)
    assert btf.find_enumerator("M1") == (3, -1)


def test_bit_fields_arrays_functions_and_qualifiers(prog: Program) -> None:
    b = Builder()
    uint = b.integer("unsigned int", 4)
    boolean = b.integer("_Bool", 1, 4)
    array = b.add(BtfKind.ARRAY, "", 0, struct.pack("<III", uint, uint, 7))
    const = b.add(BtfKind.CONST, "", uint)
    forward = b.add(BtfKind.FWD, "later", 0)
    pointer = b.add(BtfKind.PTR, "", forward)
    proto = b.add(
        BtfKind.FUNC_PROTO, "", boolean, struct.pack("<IIII", b.name("x"), const, 0, 0), vlen=2
    )
    extra = b"".join(
        struct.pack("<III", b.name(n), t, o)
        for n, t, o in [("low", uint, 3 << 24), ("high", uint, 5 << 24 | 3), ("a", array, 32)]
    )
    both = b.add(BtfKind.STRUCT, "both", 32, extra, vlen=3, flag=True)
    b.add(BtfKind.TYPE_TAG, "user", uint)
    types = BtfTypes(prog, Btf(b.build()))
    made = types.type(both)
    assert made.member("high").bit_field_size == 5
    assert made.member("high").bit_offset == 3
    assert made.member("a").type.length == 7
    assert types.type(const).qualifiers == drgn.Qualifiers.CONST
    assert types.type(pointer).type.type_name() == "struct later"
    function = types.type(proto)
    assert function.is_variadic
    assert [p.name for p in function.parameters] == ["x"]
    assert types.type(b.count).type_name() == "unsigned int"


def test_a_struct_that_points_to_itself(prog: Program) -> None:
    b = Builder()
    b.struct("node", 8, [("next", 2, 0)])
    b.add(BtfKind.PTR, "", 1)
    node = BtfTypes(prog, Btf(b.build())).type(1)
    assert node.member("next").type.type.has_member("next")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x7fELF" + bytes(60),
        small().build()[:-1],
        small().build()[:40],
        struct.pack("<HBBIIIII", 0xEB9F, 2, 0, 24, 0, 0, 0, 1) + b"\0",
    ],
)
def test_what_is_no_btf(data: bytes) -> None:
    with pytest.raises(BtfError):
        Btf(data)


def test_an_unknown_kind_is_named() -> None:
    b = small()
    b.add(31, "new", 0)
    with pytest.raises(BtfError, match="type 8 is of an unknown kind"):
        Btf(b.build())


def test_names_end_where_the_strings_do() -> None:
    section = bytearray(small().build())
    # The last string loses its end, and bytes that are none of the strings' follow.
    struct.pack_into("<I", section, 20, struct.unpack_from("<I", section, 20)[0] - 1)
    section[-1:] = b"X\0Y\0"
    btf = Btf(bytes(section))
    assert [btf.record(i).name for i in range(len(btf))][-2:] == ["page_t", "pageflags"]


@given(st.data())
def test_bit_flips_raise_nothing_else(data: st.DataObject) -> None:
    section = bytearray(small().build())
    for _ in range(data.draw(st.integers(1, 4))):
        section[data.draw(st.integers(0, len(section) - 1))] = data.draw(st.integers(0, 255))
    prog = Program(Platform(Architecture.X86_64))
    try:
        btf = Btf(bytes(section))
        types = BtfTypes(prog, btf)
        for type_id in range(len(btf)):
            types.type(type_id)
        btf.find_enumerator("PG_head")
    except BtfError:
        pass
