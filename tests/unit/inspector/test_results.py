# SPDX-License-Identifier: GPL-2.0-only
"""Results as text, HTML and frames."""

import importlib
import re
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import pytest

from pageinspect.errors import PageInspectError
from pageinspect.inspector.results import Result
from pageinspect.model.table import Absent, Column, Table
from pageinspect.report.base import View

NONE = Absent.UNAVAILABLE
EVIL = "<script>alert('&')</script>\x1b[2J"


@dataclass
class Made(Result):
    """A report of so many rows."""

    n: int
    name: str = "slab"

    __repr__ = Result.__repr__

    def document(self) -> dict[str, Any]:
        numbers = Table("rows", (Column("i", "int64"),), ((i,) for i in range(self.n)))
        return {"rows": numbers, "n": lambda: self.n, "name": self.name}

    def tables(self) -> tuple[Table, ...]:
        columns = (
            Column("name"),
            Column("size", "uint64", key="bytes", show=hex),
            Column("share", "float64", absent=(NONE,)),
            Column("secret", "bool", absent=(NONE,), machines=True),
        )
        rows = [(self.name, i, i / 2, NONE if i else True) for i in range(self.n)]
        return (Table("rows", columns, rows),)

    def view(self) -> View:
        (table,) = self.tables()
        splits = {0: [("- part", 7, NONE, NONE)]} if self.n else {}
        total = ("total", self.n, NONE, NONE)
        return View(table, splits, total, ("before", ""), ("", f"after {self.name}"))


def test_repr_has_the_first_lines_and_str_all() -> None:
    short, long = Made(3), Made(1000)
    assert repr(short) == str(short)
    assert repr(short).splitlines()[0] == "before"
    lines = repr(long).splitlines()
    assert lines[-2:] == ["…", "print() shows all."]
    assert len(lines) == 62
    assert lines[:60] == str(long).splitlines()[:60]
    assert str(long).splitlines()[-1] == "after slab"


def test_control_characters_are_escaped() -> None:
    for text in (repr(Made(2, EVIL)), str(Made(2, EVIL)), Made(2, EVIL)._repr_html_()):
        assert "\x1b" not in text
        assert "\\x1b" in text


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts += [data] if data.strip() else []


def test_html_is_the_table_for_people_escaped() -> None:
    cells = Cells()
    cells.feed(Made(2, EVIL)._repr_html_())
    shown = EVIL.replace("\x1b", "\\x1b")
    assert cells.texts == [
        *("before", "name", "size", "share"),
        *(shown, "0x0", "0.0", "- part", "0x7", shown, "0x1", "0.5", "total", "0x2"),
        f"after {shown}",
    ]
    assert "script" not in cells.tags
    assert cells.tags.count("tr") == 5


def test_html_of_many_rows_ends_with_what_shows_them() -> None:
    text = Made(1000)._repr_html_()
    assert text.count("<tr>") == 101
    assert "The first 100 rows; print() shows all." in text


def test_dicts_have_lists_for_what_streams() -> None:
    assert Made(2).to_dict() == {"rows": [{"i": 0}, {"i": 1}], "n": 2, "name": "slab"}


def test_arrow_has_a_type_a_column() -> None:
    table = Made(2).to_arrow()
    assert {field.name: str(field.type) for field in table.schema} == {
        "name": "string",
        "bytes": "uint64",
        "share": "double",
        "secret": "bool",
    }
    assert table.to_pylist()[1] == {"name": "slab", "bytes": 1, "share": 0.5, "secret": None}
    assert Made(0).to_arrow().num_rows == 0


def test_pandas_keeps_integers_that_may_be_none() -> None:
    frame = Made(2).to_pandas()
    assert [str(dtype) for dtype in frame.dtypes] == ["string", "UInt64", "Float64", "boolean"]
    assert frame["secret"].isna().tolist() == [False, True]
    assert list(Made(0).to_pandas().columns) == ["name", "bytes", "share", "secret"]


@pytest.mark.parametrize(("method", "library"), [("to_arrow", "pyarrow"), ("to_pandas", "pandas")])
def test_a_library_that_lacks_is_named_with_its_extra(
    method: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = importlib.import_module

    def without(name: str) -> object:
        if name == library:
            raise ImportError(name)
        return imported(name)

    monkeypatch.setattr("pageinspect.host.extras.import_module", without)
    with pytest.raises(PageInspectError, match=f"{library} is not installed") as raised:
        getattr(Made(1), method)()
    extra = re.search("which the extra (arrow|pandas) has$", raised.value.message)
    assert extra is not None
    assert raised.value.hint == f"{sys.executable} -m pip install 'pageinspect[{extra[1]}]'"
