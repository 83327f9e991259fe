# SPDX-License-Identifier: GPL-2.0-only
"""Owners in order, with sums that hold whatever is shown."""

import csv
import io
import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from synthetic import MODERN

from pageinspect.analysis.counter_check import CounterCheck, Verdict
from pageinspect.cli.commands import owners as command
from pageinspect.inspector.results import OwnersResult, result_of
from pageinspect.model.provenance import Provenance
from pageinspect.owners.kind import Group
from pageinspect.owners.table import KINDS
from pageinspect.render import render
from pageinspect.report.base import Coverage
from pageinspect.report.overlaps import Overlap
from pageinspect.report.owners import BY, OwnerRow, OwnersReport, kinds_of

NAMES = tuple(OwnerRow("slab", f"cache-{n}", n) for n in range(12, 0, -1))
TOTAL = sum(row.pages for row in NAMES)


def report(by: str, rows: tuple[OwnerRow, ...] = NAMES, **fields: Any) -> OwnersReport:
    provenance = Provenance("7.0", "core", "btf")
    return OwnersReport(provenance, MODERN, Coverage(2 * TOTAL, 0), by, rows, **fields)


def shown(made: OwnersReport, form: str = "table") -> str:
    stream = io.StringIO()
    render(made, form, stream)
    return stream.getvalue()


def check(verdict: Verdict, *uses: str) -> CounterCheck:
    return CounterCheck("name", uses, "NR_ITEM", 1, 2, 3, verdict, "why")


def test_ten_are_shown_to_people_and_all_to_programs() -> None:
    made = report("name")
    lines = [line.split() for line in shown(made).splitlines()[4:]]
    assert [line[1] for line in lines[:10]] == [f"cache-{n}" for n in range(12, 2, -1)]
    assert lines[10] == ["(2", "more", "owners)", "3", "1.9", "12", "KiB"]
    assert lines[11][:3] == ["total", "78", "50.0"]
    assert len(list(csv.DictReader(io.StringIO(shown(made, "csv"))))) == 12
    assert len(made.to_json()["rows"]) == 12


@pytest.mark.parametrize("top", [1, 3, 11, 12, 13, 0])
@pytest.mark.parametrize("unnamed", [(0, 0), (4, 9)])
@pytest.mark.parametrize("others", [0, 20])
def test_rows_add_up_to_the_total(top: int, unnamed: tuple[int, int], others: int) -> None:
    made = report("name", top=top, unnamed=unnamed, others=others)
    total = TOTAL + unnamed[1] + others
    document = made.to_json()
    most = top or 12
    more = max(12 - most, 0) + unnamed[0]
    assert document["total"] == {"pages": total, "bytes": total * 4096}
    assert sum(row["pages"] for row in document["rows"]) == total
    assert sum(row["kind"] is not None for row in document["rows"]) == min(most, 12)
    rows = list(csv.DictReader(io.StringIO(shown(made, "csv"))))
    assert sum(int(row["pages"]) for row in rows) == total
    assert sum(int(row["bytes"]) for row in rows) == total * 4096
    texts = [row["name"] for row in rows[min(most, 12) :]]
    assert texts == [
        *([f"({more} more owner{'s' * (more > 1)})"] if more else []),
        *(["(other kinds)"] if others else []),
    ]
    assert [row["name"] for row in document["rows"]] == [row["name"] for row in rows]


@pytest.mark.parametrize("top", [0, 1, 2, 3])
def test_bytes_of_parts_of_pages_add_up_to_the_total(top: int) -> None:
    rows = (
        OwnerRow("slab", "/a", 5, more_bytes=700),
        OwnerRow("file", "/", 4),
        OwnerRow("slab", "/", 0, more_bytes=4095),
    )
    made = report("cgroup", rows, others=7, top=top)
    document = made.to_json()
    parts = document["rows"]
    assert sum(part["bytes"] for part in parts) == document["total"]["bytes"] == 16 * 4096
    assert sum(part["pages"] for part in parts) == 16
    found = list(csv.DictReader(io.StringIO(shown(made, "csv"))))
    assert sum(int(row["bytes"]) for row in found) == 16 * 4096


def test_what_is_not_charged_is_one_row() -> None:
    made = report("cgroup", others=7)
    assert "(not charged)" in shown(made)
    assert "(other kinds)" not in shown(made)


def test_columns_without_values_are_hidden_from_people_only() -> None:
    made = report("caller", (OwnerRow("", "vmalloc_user", 5),))
    assert shown(made).splitlines()[2].split() == ["name", "pages", "%", "size"]
    assert shown(made, "csv").splitlines()[0].split(",") == [
        *("kind", "name", "filesystem", "pages", "percent", "bytes")
    ]
    with_files = report("file", (OwnerRow("file", "/etc/x", 5, "ext4 on vda"),))
    assert "file system" in shown(with_files)
    assert with_files.to_json()["rows"] == [
        {
            "kind": "file",
            "name": "/etc/x",
            "filesystem": "ext4 on vda",
            "pages": 5,
            "bytes": 5 * 4096,
        }
    ]


KIND_ROWS = (OwnerRow("file", "", 60), OwnerRow("vmalloc", "", 10), OwnerRow("unknown", "", 8))


def test_kinds_have_the_verdict_of_their_counter() -> None:
    checks = (check("verified", "file"), check("differs", "vmalloc", "stack"))
    made = report("kind", KIND_ROWS, counters=checks, largest=NAMES)
    lines = [line.split() for line in shown(made).splitlines()[4:8]]
    assert [(line[0], line[-1]) for line in lines] == [
        ("file", "verified"),
        ("vmalloc", "differs"),
        ("unknown", "KiB"),
        ("total", "KiB"),
    ]
    assert made.to_json()["counters"][1]["verdict"] == "differs"
    # The counter is a column of people's tables only.
    assert "counter" not in shown(made, "csv").splitlines()[0].split(",")
    assert "counter" not in shown(replace(made, counters=())).splitlines()[2]


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        (["verified", "explained"], "explained"),
        (["explained", "verified"], "explained"),
        (["differs", "explained", "verified"], "differs"),
        (["verified", "verified"], "verified"),
    ],
)
def test_a_kind_with_several_checks_has_the_worst_verdict(
    verdicts: list[Verdict], worst: str
) -> None:
    made = report("kind", KIND_ROWS, counters=tuple(check(v, "file") for v in verdicts))
    assert verdict_of(made, "file") == worst
    assert verdict_of(made, "vmalloc") == ""


def verdict_of(made: OwnersReport, kind: str) -> str:
    """Return the last column of a kind's row in markdown."""
    (line,) = [line for line in shown(made, "markdown").splitlines() if f"| {kind} |" in line]
    return line.split("|")[-2].strip()


def test_a_check_that_leaves_out_pages_of_its_kind_shows_how_many_it_has() -> None:
    found = replace(check("verified", "file"), counted=1234)
    assert verdict_of(report("kind", KIND_ROWS, counters=(found,)), "file") == "1,234 verified"
    found = replace(found, counted=60)
    assert verdict_of(report("kind", KIND_ROWS, counters=(found,)), "file") == "verified"
    # The number of a check of several kinds is that of none of them.
    found = replace(check("verified", "vmalloc", "stack"), counted=1234)
    assert verdict_of(report("kind", KIND_ROWS, counters=(found,)), "vmalloc") == "verified"


def test_checks_of_uses_are_those_of_the_kinds_that_own_them() -> None:
    assert kinds_of(["buddy"]) == ["free"]
    assert kinds_of(["pcp", "buddy"]) == ["free"]
    assert kinds_of(["zsmalloc", "movable_ops"]) == ["zsmalloc"]
    assert kinds_of(["stack", "vmalloc", "module", "bpf"]) == ["stack", "module", "bpf", "vmalloc"]
    assert kinds_of(["anon", "swapcache"]) == ["anon"]
    assert kinds_of(["guard"]) == []


@pytest.mark.parametrize(("top", "number"), [(None, 10), (1, 1), (0, 12), (20, 12)])
def test_the_owners_with_most_pages_are_a_table_of_their_own(top: int | None, number: int) -> None:
    made = report("kind", KIND_ROWS, largest=NAMES, top=top)
    assert len(made.to_json()["largest"]) == number
    before, title, after = shown(made).partition("Owners with most pages:\n")
    assert title
    assert "cache-" not in before
    assert after.count("cache-") == number
    assert shown(made, "markdown").count("cache-") == number
    # Rows of kinds are never left out.
    assert len(made.to_json()["rows"]) == 3
    assert shown(made, "csv").count("\n") == 1 + 3
    assert "largest" not in report("name").to_json()
    assert "most pages" not in shown(replace(made, largest=()))


def test_a_name_is_one_line_in_every_format() -> None:
    name = "a|b\n\x1b[2J<b>" + "x" * 5000
    made = report("name", (OwnerRow("file", name, 1, "f\x07"),))
    assert "\x1b" not in shown(made) + shown(made, "csv") + shown(made, "markdown")
    (row,) = [line for line in shown(made, "markdown").splitlines() if "2J" in line]
    assert "a\\|b\\\\n" in row
    assert "x" * 5000 in row
    assert json.loads(shown(made, "json"))["rows"][0]["name"] == name
    assert max(map(len, shown(made).splitlines())) <= 80
    html = result_of(OwnersResult, made)._repr_html_()
    assert "<b>" not in html
    assert "\x1b" not in html


def test_notebooks_have_both_tables() -> None:
    made = report("kind", KIND_ROWS, largest=NAMES, counters=(check("verified", "file"),))
    html = result_of(OwnersResult, made)._repr_html_()
    assert html.count("<table>") == 2
    assert "Owners with most pages:" in html
    assert "cache-12" in html


def test_a_report_without_pages() -> None:
    for by in BY:
        made = replace(report(by, ()), coverage=Coverage(0, 0))
        assert made.to_json()["total"] == {"pages": 0, "bytes": 0}
        assert shown(made).endswith("\n")


def test_overlaps() -> None:
    made = report("kind", KIND_ROWS, overlaps=(Overlap("vmalloc", "percpu", 2),))
    assert made.to_json()["overlaps"] == [{"kind": "vmalloc", "other": "percpu", "pages": 2}]


def test_what_is_missing_is_reported() -> None:
    made = replace(report("name"), coverage=Coverage(TOTAL, 2, missing=("modules: damaged.",)))
    assert "modules: damaged." in shown(made)
    assert "2 struct pages could not be read." in shown(made)
    assert made.to_json()["coverage"]["missing"] == ["modules: damaged."]


def test_the_command_counts_by_what_the_report_knows() -> None:
    assert command._BY == BY
    groups = {kind.group for kind in KINDS} - {""}
    assert groups == set(get_args(Group)) - {""}
    assert groups < set(BY)
