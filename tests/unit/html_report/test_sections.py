# SPDX-License-Identifier: GPL-2.0-only
"""Tables and paragraphs of reports."""

import pytest
from every_report import REPORTS

from pageinspect.html_report.sections import MOST_ROWS, paragraphs, section_of, table_of
from pageinspect.model.table import Column, Table


def test_lines_of_a_terminal_become_paragraphs() -> None:
    lines = [
        "",
        "One that",
        "goes on.",
        "",
        "- first",
        "- second",
        "Pages:",
        "    list -c x",
        "End",
    ]
    assert list(paragraphs(lines)) == [
        "One that goes on.",
        "- first",
        "- second Pages:",
        "    list -c x",
        "End",
    ]


def test_a_long_table_says_what_it_leaves_out() -> None:
    rows = [(f"row {i}", i) for i in range(MOST_ROWS + 3)]
    found = table_of("a title:", Table("t", (Column("name"), Column("n", "int64")), rows))
    assert (found.title, len(found.rows), found.more) == ("a title", MOST_ROWS, "3 more rows")
    assert found.widths == ["s", "n"]


def test_columns_that_a_narrow_page_lacks() -> None:
    share = Column("%", "float64", "percent")
    folios = Column("folios", "int64", "count", spare=2)
    plain = (Column("a"), Column("b"), Column("c"))
    rows = [("1", "2", "3", 4, 5)]
    found = table_of("", Table("t", (*plain, share, folios), rows))
    assert found.spare == [False, False, False, False, True]
    found = table_of("", Table("t", (*plain, Column("d"), share), [("1", "2", "3", "4", 5)]))
    assert found.spare == [False, False, False, False, True]


def test_empty_columns_are_left_out() -> None:
    columns = (Column("a"), Column("b"), Column("c"))
    found = table_of("", Table("t", columns, [("1", "", "x" * 40), ("2", "", "y")]))
    assert [column.name for column in found.head] == ["a", "c"]
    assert found.rows == (("1", "x" * 40), ("2", "y"))
    assert found.widths == ["s", "t"]


@pytest.mark.parametrize("name", [name for name in REPORTS if name != "list of pages"])
def test_a_section_of_every_report(name: str) -> None:
    made = REPORTS[name]
    section = section_of(made() if callable(made) else made, "")
    texts = [*section.texts, *(cell for t in section.tables for row in t.rows for cell in row)]
    assert texts
    assert all(text.isprintable() for text in texts)
