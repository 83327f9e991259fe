# SPDX-License-Identifier: GPL-2.0-only
"""What numpy is given are plain ints: the reason is at `page_types.Reading`."""

import pytest

from pageinspect.classify import CODES, UNTYPED, Code
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
