# SPDX-License-Identifier: GPL-2.0-only
"""What numpy is given are plain ints: the reason is at `page_types.Reading`."""

from dataclasses import replace

import pytest
from synthetic import MODERN, OLD

from pageinspect.classify import CODES, UNTYPED, Code, code_name, marker_of, type_names, use_names
from pageinspect.model.layout import Marker
from pageinspect.model.page_types import READINGS, SLOTS, Reading


def numbers(constants: type) -> dict[str, int]:
    return {name: value for name, value in vars(constants).items() if name.isupper()}


@pytest.mark.parametrize("constants", [Code, Reading])
def test_they_are_plain(constants: type) -> None:
    assert {type(value) for value in numbers(constants).values()} == {int}


def test_they_have_names() -> None:
    assert [name.lower() for name in numbers(Reading)] == list(READINGS)
    assert list(numbers(Reading).values()) == list(range(len(READINGS)))
    assert list(numbers(Code).values()) == list(range(SLOTS, CODES))
    assert all(numbers(Code)[name.upper()] == code for code, name in UNTYPED.items())


def test_markers_have_the_names_of_their_codes() -> None:
    slab, hugetlb = Marker("flag", 0, 1 << 9, 1 << 9), Marker.of_byte("dtor", 80, 2)
    for layout in (
        replace(OLD, slab=slab, hugetlb=hugetlb),
        replace(OLD, slab=None, hugetlb=hugetlb),
    ):
        found = {code: marker_of(layout, code) for code in range(CODES)}
        named = {code_name(layout.scheme, c): m for c, m in found.items() if m is not None}
        assert named == layout.markers
        assert named["hugetlb"] == hugetlb
        assert named.get("slab") == layout.slab
        for names in (type_names(layout), use_names(layout)):
            assert {*named} <= {*names}
            assert names.count("hugetlb") == 1
    assert MODERN.markers == {}
