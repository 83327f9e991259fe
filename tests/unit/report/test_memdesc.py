# SPDX-License-Identifier: GPL-2.0-only
"""A kernel with struct pages of 32 bytes and typed memdescs goes through every report."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sections import columns
from synthetic import MEMDESC, VMEMMAP, Memory

from pageinspect.analysis.page_facts.describe import describe_page
from pageinspect.analysis.totals import UseTally
from pageinspect.classify import Pages, codes_of, use_names, uses_of
from pageinspect.classify.contradictions import CONTRADICTIONS
from pageinspect.classify.details import Detail
from pageinspect.classify.runs import in_runs
from pageinspect.model.batch import PageBatch
from pageinspect.model.memory_map import MemoryMap, Zone
from pageinspect.model.provenance import Provenance
from pageinspect.render import render
from pageinspect.report.check import find
from pageinspect.report.listing import PagesListing, RunsListing, entries_of, runs_of
from pageinspect.report.page import PageReport
from pageinspect.report.selection import Selection
from pageinspect.report.summary import count, summarise

FIRST = 0x1000
SLAB = 0xFFFF888100000040
FOLIO = 0xFFFF888100000080
MAP = MemoryMap(
    ((FIRST, FIRST + 32),),
    (Zone(0, "Normal", FIRST, FIRST + 32, 0),),
    zone_names=("Normal",),
)
FROM = Provenance("9.0.0-test", "core", "btf")
ALL = Selection(32, FIRST + 32)


def memory() -> Memory:
    """Make 8 free pages, a slab of 4, two files of 4 pages, anonymous memory, and others."""
    made = Memory(32, MEMDESC, FIRST)
    made.set(0, MEMDESC.page_type, 1).set(0, 16, 3)
    made.set(slice(8, 12), MEMDESC.page_type, SLAB | 4)
    made.set(slice(12, 16), MEMDESC.page_type, FOLIO | 2)
    made.set(slice(16, 20), MEMDESC.page_type, FOLIO + 64 | 2)
    made.set(20, MEMDESC.page_type, FOLIO + 128 | 3).set(21, MEMDESC.page_type, FOLIO + 192 | 7)
    # Referenced and nothing else; reserved; a pointer without a type.
    made.set(22, 24, 1).set(23, 0, 1 << 13).set(24, MEMDESC.page_type, FOLIO)
    return made


USES = (
    ["buddy"] * 8
    + ["slab"] * 4
    + ["file"] * 8
    + ["anon", "type_0x7", "kernel", "reserved", "conflict"]
    + ["idle"] * 7
)


def batch(made: Memory) -> PageBatch:
    return PageBatch(made.first, made.words, made.readable, None)


def in_detail(made: Memory, detail: Detail) -> list[Pages]:
    return [columns(made, MAP, runs) for runs in in_runs(made.layout, MAP, [batch(made)], detail)]


def rendered(report: Any, form: str = "json") -> Any:
    stream = io.StringIO()
    render(report, form, stream)
    return json.loads(stream.getvalue()) if form == "json" else stream.getvalue()


def test_uses() -> None:
    assert memory().uses() == USES
    assert use_names(MEMDESC).count("anon") == 1
    pages = memory().pages()
    assert uses_of(MEMDESC, "file")[pages.use].tolist() == [use == "file" for use in USES]
    assert codes_of(MEMDESC, "table").nonzero()[0].tolist() == [9]
    assert not pages.freeing.any()
    assert pages.order.tolist() == [3] * 8 + [0] * 24


def summary(by: Sequence[str]) -> Any:
    detail: Detail = "use" if "use" in by else "type"
    counts = count(MEMDESC, ALL, by, in_detail(memory(), detail))
    return rendered(summarise(FROM, MEMDESC, MAP, ALL, by, counts))


def test_summary_by_type() -> None:
    rows = {row["name"]: (row["value"], row["pages"]) for row in summary(["type"])["rows"]}
    assert rows == {
        "buddy": ("0x1", 8),
        "file": ("0x2", 8),
        "anon": ("0x3", 1),
        "slab": ("0x4", 4),
        "type_0x7": ("0x7", 1),
        "untyped": (None, 10),
    }
    (untyped,) = (row for row in summary(["type"])["rows"] if row["name"] == "untyped")
    assert untyped["split"] == {"reset": 9, "odd": 1}


def test_summary_by_use_and_zone() -> None:
    document = summary(["use", "zone"])
    rows = {tuple(row["key"]): row["pages"] for row in document["rows"]}
    assert rows == {(use, "Normal"): USES.count(use) for use in set(USES)}
    assert document["total"]["pages"] == 32
    tally = UseTally(MEMDESC)
    for pages in in_detail(memory(), "use"):
        tally.add(pages)
    assert tally.totals().uses == {use: USES.count(use) for use in set(USES)}


def test_runs_do_not_depend_on_where_descriptors_are() -> None:
    (pages,) = in_detail(memory(), "use")
    # Files of two descriptors are one run.
    assert (pages.pfns - FIRST).tolist() == [0, 1, 8, 12, 20, 21, 22, 23, 24, 25]
    (pages,) = in_detail(memory(), "all")
    assert 16 in (pages.pfns - FIRST).tolist()


def test_list_of_runs() -> None:
    parts = [runs_of(ALL, in_detail(memory(), "use"))]
    document = rendered(RunsListing(FROM, MEMDESC, ALL, parts))
    runs = [
        (r["start"] - FIRST, r["end"] - FIRST, r["use"], r["type"], r["order"])
        for r in document["runs"]
    ]
    assert runs == [
        (0, 8, "buddy", "buddy", 3),
        (8, 12, "slab", "slab", 0),
        (12, 20, "file", "file", 0),
        (20, 21, "anon", "anon", 0),
        (21, 22, "type_0x7", "type_0x7", 0),
        (22, 23, "kernel", "untyped", 0),
        (23, 24, "reserved", "untyped", 0),
        (24, 25, "conflict", "untyped", 0),
        (25, 32, "idle", "untyped", 0),
    ]


def test_list_of_pages_has_words_of_64_bits() -> None:
    listing = PagesListing(FROM, MEMDESC, ALL, [entries_of(ALL, [memory().pages()])])
    pages = rendered(listing)["pages"]
    assert [page["use"] for page in pages] == USES
    assert [pages[i]["word"] for i in (0, 8, 25)] == [
        "0x0000000000000001",
        "0xffff888100000044",
        "0x0000000000000000",
    ]
    assert [pages[i]["refcount"] for i in (21, 22)] == [0, 1]
    lines = rendered(
        PagesListing(FROM, MEMDESC, ALL, [entries_of(ALL, [memory().pages()])]), "table"
    ).splitlines()
    (header,) = (line for line in lines if "refcount" in line)
    row = next(line for line in lines if "0xffff888100000044" in line)
    # Columns are as wide as the word: none begins inside it.
    assert row.index("0xffff888100000044") == header.index("word")
    assert header.index("refcount") > header.index("word") + 18


def test_check() -> None:
    (pages,) = in_detail(memory(), "all")
    findings = find([pages], live=False)
    assert [(v.rule, v.pfn - FIRST) for v in findings.violations] == [("odd-word", 24)]
    assert findings.violations[0].detail == (
        "memdesc 0xffff888100000080, refcount 0, flags none, node 0, zone Normal"
    )


@pytest.mark.parametrize(
    ("spoil", "broken"),
    [
        (lambda m: m.set(5, 8, SLAB | 4), {"type-in-free-block": [5]}),
        (lambda m: m.set(5, 24, 1), {"in-use-inside-free-block": [5]}),
        (lambda m: m.set(0, 24, 1), {"free-but-referenced": [0]}),
        (
            # It reaches all pages behind it.
            lambda m: m.set(0, 16, 11),
            {
                "free-block-order": [0],
                "type-in-free-block": [*range(8, 22)],
                "in-use-inside-free-block": [22, 23],
                "free-but-flagged": [23],
            },
        ),
        (lambda m: m.set(3, 0, 1 << 5), {"free-but-flagged": [3], "in-use-inside-free-block": [3]}),
        (lambda m: m.set(28, 0, 1 << 54), {"wrong-node": [28]}),
    ],
)
def test_contradictions_are_found_by_pages_and_by_runs(
    spoil: Any, broken: dict[str, list[int]]
) -> None:
    made = memory().set(24, 8, 0)
    spoil(made)
    plain = columns(made, MAP, batch(made))
    for rule in CONTRADICTIONS:
        expected = broken.get(rule.name, [])
        found = rule.broken(plain).tolist()
        assert found == expected, rule.name
        (runs,) = in_detail(made, "all")
        rows = rule.broken(runs)
        spread = [
            int(pfn) + k - FIRST
            for pfn, n in zip(runs.pfns[rows], runs.lengths[rows], strict=True)
            for k in range(n)
        ]
        assert spread == found, rule.name


def test_page() -> None:
    pages = memory().pages()
    slab = {fact.name: fact for fact in describe_page(pages, 9).facts}
    assert slab["page"].value == hex(VMEMMAP + (FIRST + 9) * 32)
    assert (slab["use"].value, slab["type"].value) == ("slab", "slab")
    assert slab["word"].value == {
        "raw": "0xffff888100000044",
        "reading": "type",
        "value": "slab",
    }
    assert slab["word"].text == "0xffff888100000044: type slab"
    assert "memdesc" in slab["word"].rule
    assert "_mapcount" not in slab["word"].rule
    assert slab["descriptor"].value == "0xffff888100000040"
    assert slab["mapcount"].value is None
    assert (slab["slab_cache"].raw, slab["refcount"].value) == ("0xffff888100000040", 0)
    assert slab["why"].raw == "reads memdesc 0xffff888100000044, private 0x0, refcount 0x0"
    # What struct page has no word for.
    assert slab.keys().isdisjoint({"mapping", "index", "head", "memcg", "large_mapcount"})
    words = [describe_page(pages, i).get("word") for i in (0, 24, 25)]
    assert [word.value["reading"] for word in words if word] == ["type", "overflow", "reset"]
    assert words[1] is not None
    assert words[1].text == "0xffff888100000080: overflow no type"
    free = {fact.name: fact.value for fact in describe_page(pages, 5).facts}
    assert (free["use"], free["order"], free["mapcount"]) == ("buddy", 3, None)
    assert "descriptor" not in free
    assert free["block"] == {"start": FIRST, "order": 3}


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_page_explains_every_page(form: str) -> None:
    pages = memory().pages()
    facts = tuple(describe_page(pages, i) for i in range(32))
    text = rendered(PageReport(FROM, MEMDESC, facts, explain=True), form)
    assert "descriptor" in (json.dumps(text) if form == "json" else text)


def test_any_word_reads_the_same_by_pages_and_by_runs() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        made = memory()
        for _ in range(6):
            at, word, bit = rng.integers(0, 32), rng.integers(0, 4), rng.integers(0, 64)
            made.words[at : at + rng.integers(1, 9), word] ^= np.uint64(1) << np.uint64(bit)
        plain = columns(made, MAP, batch(made))
        for detail in ("use", "all"):
            runs = in_detail(made, detail)
            for name in ("use", "code", "order", "freeing", "zone", "node"):
                found = [np.repeat(getattr(part, name), part.lengths) for part in runs]
                assert np.concatenate(found).tolist() == getattr(plain, name).tolist(), name


def test_a_kernel_without_order_and_count() -> None:
    made = memory()
    made.layout = replace(MEMDESC, private=None, refcount=None)
    uses = made.uses()
    assert uses[:9] == ["buddy"] + ["idle"] * 7 + ["slab"]
    assert uses[22] == "idle"
    assert describe_page(made.pages(), 0).get("refcount") is None
    assert describe_page(made.pages(), 0).get("order") is None
    (page, *_) = rendered(PagesListing(FROM, made.layout, ALL, [entries_of(ALL, [made.pages()])]))[
        "pages"
    ]
    assert page["refcount"] is None
