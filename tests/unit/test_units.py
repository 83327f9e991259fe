# SPDX-License-Identifier: GPL-2.0-only
"""Numbers and foreign text as people read them."""

import pytest

from pageinspect import units


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (4096, "4 KiB"),
        (33554432, "32 MiB"),
        (1536 << 20, "1.50 GiB"),
        (123 << 20 | 1 << 19, "123.5 MiB"),
        ((1023 << 20) + 4096, "1023 MiB"),
        (2 << 50, "2 PiB"),
        (5000 << 50, "5000 PiB"),
    ],
)
def test_size(n_bytes: int, text: str) -> None:
    assert units.size(n_bytes) == text


@pytest.mark.parametrize(
    ("n", "noun", "verb", "text"),
    [
        (0, "page", "", "0 pages"),
        (1, "page", "", "1 page"),
        (8192, "page", "", "8,192 pages"),
        (1, "page", "are", "1 page is"),
        (2, "struct page", "are", "2 struct pages are"),
        (1, "page", "were", "1 page was"),
    ],
)
def test_counted(n: int, noun: str, verb: str, text: str) -> None:
    assert units.counted(n, noun, verb) == text


def test_percent_is_never_zero_for_something() -> None:
    assert units.percent(0.0001) == "<0.1"
    assert units.percent(0) == "0.0"
    assert units.percent(100) == "100.0"


def test_printable_escapes_what_a_terminal_would_obey() -> None:
    assert units.printable("a\x1b[31m\n\u202e") == "a\\x1b[31m\\n\\u202e"
    assert units.printable("café") == "café"


def test_differences_have_a_sign() -> None:
    assert [units.signed(n) for n in (8192, -1, 0)] == ["+8,192", "-1", ""]
    assert [units.signed_size(n) for n in (32 << 20, -1536, 0)] == ["+32 MiB", "-1.50 KiB", ""]
