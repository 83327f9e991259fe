# SPDX-License-Identifier: GPL-2.0-only
"""Typed frees from the document of trace, and files that are none."""

import json
from pathlib import Path

import pytest
from every_report import REPORTS

from pageinspect.errors import PageInspectError
from pageinspect.html_report.frees import read_frees


def document(name: str) -> dict[str, object]:
    made = REPORTS[name]
    return (made() if callable(made) else made).to_json()


def test_tables_of_a_document(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document("trace by who")), encoding="utf-8")
    found = read_frees(path)
    types, keys, stacks = found.tables
    assert types.rows == (("zsmalloc", "30", "50", "expected"), ("untyped", "5", "5", ""))
    assert [column.name for column in keys.head] == [
        "type",
        "comm",
        "pid",
        "zone",
        "frees",
        "pages",
    ]
    assert keys.rows[0][0] == "zsmalloc"
    assert keys.rows[0][2:] == ("99", "Normal", "20", "40")
    assert stacks.rows[0] == ("zsmalloc", "20", "40", "__free_frozen_pages ← zs_free ← reset")
    assert "Linux 7.3.4-test in 1.50 s" in found.intro


def test_lost_events_and_unexpected_types_are_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document("trace")), encoding="utf-8")
    found = read_frees(path)
    assert found.tables[0].rows[0] == ("table", "3", "3", "UNEXPECTED")
    assert found.texts == ("2 events were lost, and are in no count.",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"typed": 5}',
        "[" * 100_000,
        json.dumps(document("summary")),
        json.dumps({**document("trace by who"), "rows": [{"key": [1]}]}),
        json.dumps(
            {
                **document("trace by who"),
                "rows": [{"key": [1], "type": "slab", "frees": 1, "pages": 1}],
            }
        ),
        json.dumps({**document("trace by who"), "stacks": [5]}),
        json.dumps({**document("trace"), "duration_ns": "x"}),
        json.dumps(document("trace")) * 2,
    ],
)
def test_other_files_are_errors(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PageInspectError, match="is not one JSON document of trace") as caught:
        read_frees(path)
    assert "--format json" in caught.value.hint


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PageInspectError, match="cannot read"):
        read_frees(tmp_path / "missing")
