# SPDX-License-Identifier: GPL-2.0-only
"""Frees of a trace as a table of a snapshot: all of them once, and other files refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from pageinspect.errors import PageInspectError
from pageinspect.report.traced_frees import read_frees

TYPED = [
    {"type": "table", "frees": 5, "pages": 6, "expected": False, "disallowed": True},
    {"type": "zsmalloc", "frees": 30, "pages": 30, "expected": True, "disallowed": False},
    {"type": "offline", "frees": 0, "pages": 0, "expected": True, "disallowed": False},
]
KEYS = [
    {"key": ["sh", "free_a"], "type": "table", "frees": 2, "pages": 3},
    {"key": ["ls", "free_a"], "type": "table", "frees": 1, "pages": 1},
    {"key": ["ls", "zs_free"], "type": "zsmalloc", "frees": 30, "pages": 30},
]


def rows(path: Path, **more: Any) -> list[tuple[Any, ...]]:
    document = {"schema": 1, "duration_ns": 2_500_000_000, "typed": TYPED, **more}
    path.write_text(json.dumps(document), encoding="utf-8")
    table = read_frees(path)
    columns = [table[name].tolist() for name in ("type", "caller", "frees", "pages")]
    verdicts = [table[name].tolist() for name in ("expected", "disallowed", "seconds")]
    return list(zip(*columns, *verdicts, strict=True))


def test_without_callers_there_is_a_row_for_each_type(tmp_path: Path) -> None:
    assert rows(tmp_path / "trace.json") == [
        ("table", None, 5, 6, False, True, 2.5),
        ("zsmalloc", None, 30, 30, True, False, 2.5),
        ("offline", None, 0, 0, True, False, 2.5),
    ]


def test_frees_by_caller_add_up_to_those_of_the_type(tmp_path: Path) -> None:
    assert rows(tmp_path / "trace.json", by=["comm", "caller"], rows=KEYS) == [
        ("table", "free_a", 3, 4, False, True, 2.5),
        ("table", None, 2, 2, False, True, 2.5),
        ("zsmalloc", "zs_free", 30, 30, True, False, 2.5),
        ("offline", None, 0, 0, True, False, 2.5),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not one JSON document of trace"),
        ("{}\n{}\n", "not one JSON document of trace"),
        ("[]", "not one JSON document of trace"),
        ("[" * 100_000, "not one JSON document of trace"),
        ('{"schema": 1, "by": ["type"], "rows": []}', "not one JSON document of trace"),
        ('{"schema": 2}', "has schema 2"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PageInspectError, match=why):
        read_frees(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PageInspectError, match="No such file"):
        read_frees(tmp_path / "none.json")
