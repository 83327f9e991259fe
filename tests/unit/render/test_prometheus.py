# SPDX-License-Identifier: GPL-2.0-only
"""Metrics: what prometheus_client reads from them, and what a series may not be."""

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from every_report import HOSTILE, REPORTS
from prometheus_client.parser import text_string_to_metric_families

from pageinspect.render import METRICS, render
from pageinspect.report import Report
from pageinspect.report.metric_texts import MEANINGS
from pageinspect.report.owners import OwnerRow, OwnersReport

OUTPUT = Path(__file__).parents[3] / "docs/output.md"
WITH_METRICS = [name for name in REPORTS if REPORTS[name]().metrics()]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def written(report: Report) -> str:
    stream = io.StringIO()
    render(report, METRICS, stream)
    return stream.getvalue()


def labels_of(labels: dict[str, str]) -> frozenset[tuple[str, str]]:
    """Return the labels without empty ones, which are the same as none."""
    return frozenset((name, text) for name, text in labels.items() if text)


def samples(report: Report) -> Samples:
    families = list(text_string_to_metric_families(written(report)))
    found = [sample for family in families for sample in family.samples]
    keys = Counter((each.name, labels_of(each.labels)) for each in found)
    assert max(keys.values()) == 1
    assert max(Counter(family.name for family in families).values()) == 1
    return {(s.name, labels_of(s.labels)): s.value for s in found}


def value(report: Report, metric: str, /, **labels: str) -> float:
    return samples(report)[f"pageinspect_{metric}", labels_of(labels)]


def test_four_commands_have_metrics() -> None:
    commands = {name.split()[0] for name in WITH_METRICS}
    assert commands == {"summary", "owners", "contiguity", "trace"}


@pytest.mark.parametrize("name", WITH_METRICS)
def test_each_series_occurs_once_and_is_safe_text(name: str) -> None:
    report = REPORTS[name]()
    assert samples(report)
    assert written(report).replace("\n", "").isprintable()


def test_each_metric_has_a_sentence_on_what_it_measures() -> None:
    """Every sentence is used, and no help text repeats the name alone."""
    found = set()
    for name in WITH_METRICS:
        for family in text_string_to_metric_families(written(REPORTS[name]())):
            sentence, mark, _ = family.documentation.rpartition(" (pageinspect ")
            assert mark
            assert len(sentence.split()) > 2, family.name
            found.add(sentence)
    known = {sentence for part in MEANINGS.values() for sentence in part.values()}
    assert found == known


BEGINS = {"summary": "summary_by_X", "owners": "owners_by_X", "trace": "trace"}
BEGINS |= {"walk": "REPORT", "check": "REPORT_check"}


def test_the_documentation_has_every_metric(request: pytest.FixtureRequest) -> None:
    lines = ["| metric | measures |", "|---|---|"]
    for part, meanings in MEANINGS.items():
        for key, sentence in meanings.items():
            metric = f"pageinspect_{BEGINS.get(part, part)}_{key}".replace(
                "duration_ns", "duration_seconds"
            )
            lines.append(f"| `{metric}` | {sentence} |")
    expected = "".join(f"{line}\n" for line in lines)
    before, begin, rest = OUTPUT.read_text(encoding="utf-8").partition("<!-- metrics -->\n")
    shown, end, after = rest.partition("<!-- end of metrics -->")
    if request.config.getoption("--update-golden"):
        OUTPUT.write_text(f"{before}{begin}{expected}{end}{after}", encoding="utf-8")
        return
    assert shown == expected, "run pytest with --update-golden"


def owners(*rows: OwnerRow, top: int | None = None) -> OwnersReport:
    made = REPORTS["owners by name"]()
    assert isinstance(made, OwnersReport)
    return replace(made, rows=rows, unnamed=(0, 0), others=0, top=top)


def test_numbers_are_gauges_and_the_rest_are_labels() -> None:
    made = owners(OwnerRow("file", "a", 3, "ext4 on vda"), OwnerRow("slab", HOSTILE, 2))
    labels = {"kind": "file", "name": "a", "filesystem": "ext4 on vda"}
    assert value(made, "owners_by_name_pages", **labels) == 3
    assert value(made, "owners_by_name_bytes", **labels) == 3 * 4096
    assert value(made, "owners_by_name_complete") in (0, 1)
    kernel = {"release": made.provenance.release, "source": "core", "symbols": "btf"}
    assert value(made, "owners_by_name_info", **kernel) == 1
    assert "\x1b" not in written(made)


def test_owners_with_the_same_name_are_one_series() -> None:
    made = owners(OwnerRow("file", "a (deleted)", 3), OwnerRow("file", "a (deleted)", 2))
    assert value(made, "owners_by_name_pages", kind="file", name="a (deleted)") == 5


@pytest.mark.parametrize(("top", "series"), [(None, 11), (3, 4), (0, 30)])
def test_the_number_of_names_is_bounded(top: int | None, series: int) -> None:
    made = owners(*(OwnerRow("slab", f"cache-{n}", 40 - n) for n in range(30)), top=top)
    pages = {k: v for k, v in samples(made).items() if k[0] == "pageinspect_owners_by_name_pages"}
    assert len(pages) == series
    assert sum(pages.values()) == sum(40 - n for n in range(30))
    if series < 30:
        assert value(made, "owners_by_name_pages", name="(more owners)") > 0


def test_times_are_in_seconds() -> None:
    name = next(name for name in WITH_METRICS if name.startswith("trace"))
    seconds = {k[0]: v for k, v in samples(REPORTS[name]()).items() if k[0].endswith("seconds")}
    (found,) = seconds.values()
    assert found == pytest.approx(REPORTS[name]().to_json()["duration_ns"] / 1e9)
