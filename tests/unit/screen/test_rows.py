# SPDX-License-Identifier: GPL-2.0-only
"""Which rows are shown, their order, and the widths of columns."""

import pytest
from screen_source import numbers, texts

from pageinspect.screen.reading import ScreenReading
from pageinspect.screen.rows import Order, cut, place

READING = ScreenReading(
    (
        texts("name", "b", "A", "c", "d"),
        numbers("pages", 5, None, 70, -3),
        numbers("%", 1, 2, 3, 4, spare=1),
        numbers("folios", 1, 2, 3, 4, spare=2),
    )
)


@pytest.mark.parametrize(
    ("order", "rows"),
    [
        (Order(), [0, 1, 2, 3]),
        (Order("pages"), [2, 0, 3, 1]),
        # A cell without a value comes last either way.
        (Order("pages", descending=False), [3, 0, 2, 1]),
        (Order("name", descending=False), [1, 0, 2, 3]),
        (Order("name"), [3, 2, 0, 1]),
        (Order("no such column"), [0, 1, 2, 3]),
        (Order(text="a"), [1]),
        (Order(text="5"), []),
    ],
)
def test_order(order: Order, rows: list[int]) -> None:
    assert order.rows(READING) == rows


def headings(width: int, order: Order = Order()) -> list[str]:  # noqa: B008 - frozen
    return [placed.column.name for placed in place(READING, [0, 1, 2, 3], width, order)]


def test_columns_with_most_to_spare_are_left_out_first() -> None:
    # " pages", " folios", "  %" and "name " with two spaces between.
    assert headings(26) == ["name", "pages", "%", "folios"]
    assert headings(25) == ["name", "pages", "%"]
    assert headings(17) == ["name", "pages", "%"]
    assert headings(16) == ["name", "pages"]
    assert headings(5) == ["name", "pages"]
    # What rows are sorted by stays.
    assert headings(20, Order("folios")) == ["name", "pages", "folios"]


def test_numbers_are_never_cut() -> None:
    wide = ScreenReading((texts("name", "x" * 100), numbers("pages", 123456789)))
    for width in (30, 80, 200):
        name, pages = place(wide, [0], width, Order())
        assert pages.cell(0) == "123,456,789"
        assert len(name.cell(0)) + 2 + len(pages.cell(0)) == min(width, 113)
        assert len(name.head) == len(name.cell(0))


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 5, "short"),
        ("some text", 5, "some…"),
        ("/usr/lib/libx.so", 8, "…ibx.so"[:1] + "libx.so"),
        ("日本語日本語", 5, "日本…"),
        ("/日本語", 4, "…語"),
        ("/abc", 1, "…"),
    ],
)
def test_cut(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown
