"""A scheme of tomorrow: the type in the low bits of a memdesc pointer, on struct pages by hand."""

from dataclasses import replace

from synthetic import MODERN, Memory

from pageinspect.classify import codes_of
from pageinspect.model.page_types import MemdescScheme, PageType

TYPES = {"buddy": 1, "slab": 2, "table": 3, "zsmalloc": 6}
SCHEME = MemdescScheme(tuple(PageType(name, v, v, "enum") for name, v in TYPES.items()))
# The memdesc takes the place of memcg_data; everything else is read as before.
LAYOUT = replace(MODERN, scheme=SCHEME, page_type=56, memcg=None)
DESCRIPTOR = 0xFFFF888100000040


def memory(n: int) -> Memory:
    made = Memory(n, LAYOUT)
    made.words[:] = 0
    return made


def test_the_same_columns_read_a_memdesc() -> None:
    made = memory(16).set(0, 56, 1).set(0, LAYOUT.private, 2)
    made.set(4, 56, DESCRIPTOR | 2).compound(4, 1)
    made.set(6, 56, DESCRIPTOR | 6).set(7, 56, DESCRIPTOR | 9)
    types = made.types()
    assert types[:9] == ["buddy"] * 4 + ["slab"] * 2 + ["zsmalloc", "type_0x9", "reset"]
    assert made.uses()[:9] == ["buddy"] * 4 + ["slab"] * 2 + ["zsmalloc", "type_0x9", "idle"]


def test_a_pointer_without_a_type_contradicts_itself() -> None:
    made = memory(1).set(0, 56, DESCRIPTOR)
    assert made.types() == ["odd"]
    assert made.uses() == ["conflict"]


def test_names_and_values() -> None:
    assert SCHEME.slot_value(6) == "0x6"
    assert codes_of(LAYOUT, "table").nonzero()[0].tolist() == [3]
