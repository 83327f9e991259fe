# SPDX-License-Identifier: GPL-2.0-only
"""Names of a page: escaped, and of few bytes."""

import pytest

from pageinspect.html_report.names import MOST_BYTES, is_cut, shown_name, shown_text


def test_control_characters_are_escaped() -> None:
    assert shown_name("a\x1bb") == r"a\x1bb"
    assert shown_text("a\x1bb") == r"a\x1bb"
    assert shown_name(None) == ""


@pytest.mark.parametrize("letter", ["x", "é", "日", "😀", "\x1b", "\udc80"])
def test_a_long_name_has_its_beginning_and_its_end(letter: str) -> None:
    name = f"/first/{letter * 4000}/the-end"
    shown = shown_name(name)
    assert len(shown.encode()) <= MOST_BYTES
    assert shown.startswith("/first/")
    assert shown.endswith("/the-end")
    assert shown.count("…") == 1
    assert is_cut(name)


def test_a_name_that_fits_is_whole() -> None:
    name = "x" * MOST_BYTES
    assert shown_name(name) == name
    assert not is_cut(name)
    assert is_cut(f"{name}x")
    assert not is_cut(None)
