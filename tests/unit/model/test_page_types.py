# SPDX-License-Identifier: GPL-2.0-only
"""page_type words, read as each scheme's kernel reads them.

The expected values are the kernel's own macros evaluated by hand for 4.18 to 7.3.
"""

import numpy as np
import pytest
from synthetic import SCHEMES

from pageinspect.classify import code_name
from pageinspect.model.page_types import READINGS, Reading, Scheme


def read(scheme: Scheme, word: int) -> tuple[bool, str, str | None]:
    """Return (typed, reading, name) of one word."""
    words = np.array([word], np.uint32)
    reading = int(scheme.readings(words)[0])
    name = scheme.slot_name(int(scheme.slots(words)[0])) if reading == Reading.TYPE else None
    return bool(scheme.typed(words)[0]), READINGS[reading], name


@pytest.mark.parametrize(
    ("kernel", "word", "name"),
    [
        ("4.18", 0xFFFFFF7F, "buddy"),
        ("4.18", 0xFFFFFEFF, "balloon"),
        ("4.18", 0xFFFFF9FF, "kmemcg+table"),
        ("5.0", 0xFFFFFEFF, "offline"),
        ("5.0", 0xFFFFF7FF, "guard"),
        ("5.11", 0xFFFFFDFF, "table"),
        ("5.11", 0xFFFFFBFF, "guard"),
        ("6.9", 0xFFFFF7FF, "hugetlb"),
        ("6.10", 0xFFFFEFFF, "slab"),
        ("6.11", 0xBFFFFFFF, "buddy"),
        ("6.11", 0xEFFFFFFF, "table"),
        ("6.11", 0xFEFF0123, "zsmalloc"),
        ("6.12", 0xF0000000, "buddy"),
        ("6.12", 0xF6000040, "zsmalloc"),
        ("6.12", 0xF8000000, "type_0xf8"),
        ("6.16", 0xF8000000, "large_kmalloc"),
        ("6.16", 0xF9000000, "type_0xf9"),
        ("6.16", 0xFE000000, "type_0xfe"),
        # A bit beyond the eight of a slot is no type that any kernel has.
        ("5.11", 0xFFFF7F7F, "buddy"),
    ],
)
def test_types(kernel: str, word: int, name: str) -> None:
    assert read(SCHEMES[kernel], word) == (True, "type", name)


@pytest.mark.parametrize("kernel", SCHEMES)
def test_words_that_are_no_type(kernel: str) -> None:
    scheme = SCHEMES[kernel]
    assert read(scheme, 0xFFFFFFFF) == (False, "reset", None)
    assert read(scheme, 0) == (False, "mapcount", None)
    assert read(scheme, 7) == (False, "mapcount", None)
    assert read(scheme, 0x7FFFFFFF) == (False, "mapcount", None)
    assert read(scheme, 0xFFFFFFFE) == (False, "underflow", None)


@pytest.mark.parametrize(
    ("kernel", "word", "typed", "reading"),
    [
        # v6.12 compares the word minus one in page_has_type(), which moves both ends.
        ("6.12", 0xFF000000, True, "underflow"),
        ("6.12", 0xFF000001, False, "underflow"),
        ("6.12", 0x80000000, False, "overflow"),
        ("6.12", 0x80000001, True, "overflow"),
        ("6.16", 0xFF000000, False, "underflow"),
        ("6.16", 0xFEFFFFFF, True, "type"),
        ("6.16", 0x80000000, True, "overflow"),
        ("6.16", 0xEFFFFFFF, True, "overflow"),
        ("5.11", 0xFFFFFF80, False, "underflow"),
        ("5.11", 0xFFFFFF7F, True, "type"),
        ("5.11", 0x80000000, True, "overflow"),
        ("5.11", 0xEFFFFF7F, True, "overflow"),
        ("5.11", 0xFF000000, True, "type"),
        ("6.11", 0xFFFF0000, False, "underflow"),
        ("6.11", 0x80000000, True, "type"),
        ("6.11", 0xFF000000, True, "overflow"),
    ],
)
def test_border_words(kernel: str, word: int, typed: bool, reading: str) -> None:
    assert read(SCHEMES[kernel], word)[:2] == (typed, reading)


def test_values_are_what_the_kernel_writes() -> None:
    assert SCHEMES["6.16"].slot_value(0xF6) == "0xf6"
    table = SCHEMES["5.11"].find("table")
    assert table is not None
    assert SCHEMES["5.11"].slot_value(table.slot) == "0x200"


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_names_are_of_numbers_as_columns_have_them(name: str) -> None:
    scheme = SCHEMES[name]
    for page_type in scheme.types:
        assert code_name(scheme, np.uint16(page_type.slot)) == page_type.name
