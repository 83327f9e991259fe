# SPDX-License-Identifier: GPL-2.0-only
"""Types at allocation as text and as rows."""

import io
import json

from lives_by_hand import allocations

from pageinspect.render import render
from pageinspect.report.alloc_types import AllocTypesReport


def text(of: AllocTypesReport, form: str = "table") -> str:
    stream = io.StringIO()
    render(of, form, stream)
    return stream.getvalue()


def test_no_page_with_a_type() -> None:
    report = allocations()
    assert report.typed == ()
    shown = " ".join(text(report).split())
    assert "untyped 10 10 40 KiB 0:10 total 10 10 40 KiB" in shown
    assert "STILL SET" not in shown
    assert "had a type" not in shown
    assert "Not looked at: pages of the bulk allocator" in shown


def test_pages_with_a_type_and_who_took_them() -> None:
    shown = " ".join(text(allocations(3)).split())
    assert "table 3 12 48 KiB 2:3 STILL SET" in shown
    assert "12 pages had a type while the allocator had them" in shown
    assert "table take [lives] 2 3 12" in shown
    assert "__alloc_frozen_pages_noprof" not in shown
    assert "__alloc_frozen_pages_noprof" in text(allocations(3, stacks=True))


def test_the_document_has_the_same() -> None:
    found = json.loads(text(allocations(3, missed=2), "json"))
    assert found["allocations"] == 13
    assert (found["lost"], found["lost_by"]["missed"]) == (2, 2)
    assert [(row["type"], row["allocations"], row["pages"]) for row in found["types"]] == [
        ("table", 3, 12),
        ("untyped", 10, 10),
    ]
    assert [row["verdict"] for row in found["types"]] == ["STILL SET", None]
    (caller,) = found["callers"]
    assert (caller["caller"], caller["allocations"]) == ("take [lives]", 3)
    assert "Lost: 2 allocations while the tracer's" in " ".join(text(allocations(missed=2)).split())
