# SPDX-License-Identifier: GPL-2.0-only
"""Pages by owner, in a kernel made by hand."""

import io
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from damaged_memory import START, damaged
from owned_pages import FREE_PAGES, MEMCGS, PAGES, CgroupNames, OwnedPages
from synthetic import MODERN, SIZE, flag

from pageinspect.errors import UsageError
from pageinspect.inspector import owner_finder, owner_names, owner_walk
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.owners import count_owners
from pageinspect.inspector.slab_cgroups import SlabCharges
from pageinspect.inspector.summary import summarise
from pageinspect.model.ranges import count
from pageinspect.render import render
from pageinspect.report.owners import BY, OwnersReport
from pageinspect.report.selection import Request


def owners(made: OwnedPages, by: str = "kind", **options: Any) -> OwnersReport:
    request = Request(
        **{k: options.pop(k) for k in ("pfn", "types", "uses", "owners") if k in options}
    )
    return count_owners(made.inspector(), by, request, fold=fold_here, **options)


def pages(report: OwnersReport) -> dict[tuple[str, str], int]:
    found = {(row.kind, row.name): row.pages for row in report.rows}
    assert len(found) == len(report.rows)
    return found


def sums_hold(report: OwnersReport, total: int) -> None:
    """See that each form of a report adds up to all pages."""
    assert report.pages == total
    document = report.to_json()
    assert document["total"]["pages"] == total
    assert sum(row["pages"] for row in document["rows"]) == total
    of_rows = sum(row["bytes"] for row in document["rows"])
    assert of_rows == document["total"]["bytes"] == total * 4096
    (table,) = report.tables()
    names = [column.key for column in table.columns]
    assert sum(row[names.index("pages")] for row in table.rows) == total
    stream = io.StringIO()
    render(report, "jsonl", stream)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert sum(line["pages"] for line in lines) == total
    assert sum(line["bytes"] for line in lines) == total * 4096
    view = report.view()
    at = [column.key for column in view.table.columns].index("pages")
    assert view.total is not None
    assert view.total[at] == total
    assert sum(row[at] for row in view.table.rows) == total


def test_by_kind(made: OwnedPages) -> None:
    report = owners(made)
    known = {
        "free": FREE_PAGES,
        "file": 22,
        "shmem": 5,
        "slab": 10,
        "vmalloc": 8,
        "stack": 8,
        "table": 4,
    }
    known["unknown"] = PAGES - sum(known.values())
    assert pages(report) == {(kind, ""): n for kind, n in known.items()}
    assert [row.pages for row in report.rows] == sorted(
        (row.pages for row in report.rows), reverse=True
    )
    sums_hold(report, PAGES)
    assert report.coverage.complete
    # Free memory is not among the owners with most pages.
    largest = [(row.kind, row.name) for row in report.largest]
    assert largest[:3] == [
        ("unknown", "idle, order 0, 0 references"),
        ("file", "/big"),
        ("slab", "dentry"),
    ]


BY_NAME = {
    ("file", "/big"): 20,
    ("file", "/small"): 2,
    ("shmem", "/in memory"): 5,
    ("slab", "dentry"): 7,
    ("slab", "inode"): 3,
    ("vmalloc", "alloc_large_system_hash"): 6,
    ("vmalloc", "nf_tables:nft_chain_add"): 2,
    ("stack", "bash[812]"): 4,
    ("stack", "a:b*c[x][7]"): 4,
    ("table", "bash[812]"): 3,
    ("table", "(no process)"): 1,
}
OF = {
    "cache": ("slab",),
    "file": ("file", "shmem"),
    "task": ("stack", "table"),
    "module": (),
}


def test_by_name(made: OwnedPages) -> None:
    report = owners(made, "name")
    found = pages(report)
    assert {key: n for key, n in found.items() if key[0] not in ("unknown", "free")} == BY_NAME
    assert {row.file_system for row in report.rows if row.kind == "file"} == {"ext4 on vda"}
    sums_hold(report, PAGES)


@pytest.mark.parametrize("by", OF)
def test_by_the_names_of_some_kinds(made: OwnedPages, by: str) -> None:
    report = owners(made, by)
    assert pages(report) == {key: n for key, n in BY_NAME.items() if key[0] in OF[by]}
    sums_hold(report, PAGES)


def test_by_caller(made: OwnedPages) -> None:
    report = owners(made, "caller")
    assert pages(report) == {
        ("", "alloc_large_system_hash"): 6,
        ("", "nf_tables:nft_chain_add"): 2,
        ("", "kernel_clone"): 8,
    }
    sums_hold(report, PAGES)


def test_by_cgroup(made: OwnedPages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_names, "MemoryCgroupNames", CgroupNames)
    first, second = MEMCGS
    made.file("other", 4, memcg=second)
    made.file("shared", 3, shmem=True, memcg=first)
    report = owners(made, "cgroup")
    assert pages(report) == {("file", "/a"): 2, ("file", "/b"): 4, ("shmem", "/a"): 3}
    assert report.others == PAGES - 9
    sums_hold(report, PAGES)


def test_objects_of_slabs_by_cgroup(made: OwnedPages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_names, "MemoryCgroupNames", CgroupNames)
    first, second = MEMCGS
    asked: list[int] = []

    def charged(_inspector: Any, heads: np.ndarray) -> SlabCharges:
        asked.extend(heads.tolist())
        return SlabCharges(Counter({first: 5 * 4096 + 700, second: 300}), unreadable=2)

    monkeypatch.setattr(owner_walk, "charged_objects", charged)
    large = made.slab("kmalloc-4k", 0, order=3)
    # In slabs the word is the address of a vector.
    made.memory.set(slice(0x2B, 0x35), MODERN.memcg, 0xFFFF888000001000 | 1)
    report = owners(made, "cgroup")
    assert asked == [*range(0x2B, 0x35), large[0]]
    assert [(row.kind, row.name, row.pages, row.more_bytes) for row in report.rows] == [
        ("slab", "/a", 5, 700),
        ("file", "/a", 2, 0),
        ("slab", "/b", 0, 300),
    ]
    assert report.others == PAGES - 7
    assert report.coverage.missing == ("objects of slabs by cgroup: 2 items could not be read.",)
    for top in (0, 1, 2):
        sums_hold(owners(made, "cgroup", top=top), PAGES)


def test_slabs_of_which_some_pages_are_selected_have_no_objects(
    made: OwnedPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def charged(_inspector: Any, heads: np.ndarray) -> SlabCharges:
        asked.extend(heads.tolist())
        return SlabCharges()

    monkeypatch.setattr(owner_walk, "charged_objects", charged)
    slabs = [made.slab("kmalloc-4k", 0, order=2) for _ in range(3)]
    owners(made, "cgroup", pfn=[f"{slabs[0][2]}-{slabs[2][1]}"])
    assert asked == [slabs[1][0]]
    asked.clear()
    owners(made, "cgroup", pfn=[f"{slabs[0][0]}", f"{slabs[1][0]}-{slabs[1][3]}", "0x2c"])
    assert asked == [0x2C]


def test_objects_that_are_larger_than_their_slabs_are_damaged(
    made: OwnedPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_names, "MemoryCgroupNames", CgroupNames)
    found = Counter({next(iter(MEMCGS)): 10 * 4096})
    monkeypatch.setattr(owner_walk, "charged_objects", lambda *_: SlabCharges(found))
    assert pages(owners(made, "cgroup")) == {("slab", "/a"): 10, ("file", "/a"): 2}
    found[next(iter(MEMCGS))] += 1
    report = owners(made, "cgroup")
    assert pages(report) == {("file", "/a"): 2}
    assert report.coverage.missing == ("objects of slabs by cgroup: 10 items could not be read.",)


def test_cgroups_of_a_kernel_without_them(made: OwnedPages) -> None:
    report = owners(made, "cgroup")
    assert pages(report) == {("file", "unreadable"): 2}
    assert not report.coverage.complete
    names, objects = report.coverage.missing
    assert names.startswith("names of cgroups: ")
    assert objects.startswith("objects of slabs by cgroup: this kernel has no known ")
    sums_hold(report, PAGES)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("top", [None, 0, 1, 3, 100])
@pytest.mark.parametrize("name_all", [True, False])
def test_totals_hold_with_any_number_of_rows(
    made: OwnedPages, by: str, top: int | None, *, name_all: bool
) -> None:
    for i in range(12):
        made.file(f"file {i}", 3 + i % 4)
    sums_hold(owners(made, by, top=top, name_all=name_all), PAGES)


@pytest.mark.parametrize("by", ["name", "file"])
@pytest.mark.parametrize("top", [None, 1, 3, 13, 14, 100])
def test_owners_that_are_shown_are_those_of_all(made: OwnedPages, by: str, top: int | None) -> None:
    for i in range(12):
        made.file(f"file {i}", 3 + i)
    some, every = (owners(made, by, top=top, name_all=name_all) for name_all in (False, True))
    most = 10 if top is None else top
    assert some.rows[:most] == every.rows[:most]
    assert some._shown(most) == every._shown(most)
    if by == "file" and most < 15:
        assert len(some.rows) == most + 1  # one of shmem
        assert some.unnamed == (
            14 - most,
            every.pages - every.others - sum(r.pages for r in some.rows),
        )


@pytest.mark.parametrize("top", [None, 0, 5, 15, 40])
@pytest.mark.parametrize("name_all", [True, False])
def test_the_largest_owners_are_those_of_all(
    made: OwnedPages, top: int | None, *, name_all: bool
) -> None:
    for i in range(20):
        made.file(f"file {i}", 3 + i)
    report = owners(made, top=top, name_all=name_all)
    every = [row for row in owners(made, "name", top=0).rows if row.kind != "free"]
    most = 10 if top is None else top or len(every)
    assert list(report._largest()) == every[:most]
    assert len(report.to_json()["largest"]) == min(most, len(every))


def test_selected_pages(made: OwnedPages) -> None:
    assert pages(owners(made, "name", uses=["slab"])) == {
        ("slab", "dentry"): 7,
        ("slab", "inode"): 3,
    }
    assert pages(owners(made, types=["table"])) == {("table", ""): 4}
    first = owners(made, "name", pfn=["0x10-0x1f"])
    assert pages(first) == {("file", "/big"): 15}
    assert first.coverage.spanned == 15
    sums_hold(first, 15)


def test_an_unknown_way_to_count(made: OwnedPages) -> None:
    with pytest.raises(UsageError, match="counted by 'nam'") as caught:
        owners(made, "nam")
    assert "name" in str(caught.value.hint)


def test_overlaps_are_reported(made: OwnedPages) -> None:
    area = made.area("first", 2)
    vmap = made.structures.vmap
    assert vmap is not None
    areas = (*vmap.areas, replace(area, start=area.start + (1 << 20), vm=1))
    made.structures = replace(made.structures, vmap=replace(vmap, areas=areas))
    # One kind does not overlap with itself.
    assert owners(made).overlaps == ()
    kernel = np.array([*area.pages])
    tables = made.structures.tables
    assert tables is not None
    made.structures = replace(made.structures, tables=replace(tables, kernel=kernel))
    (overlap,) = owners(made).overlaps
    assert tuple(overlap) == ("table", "vmalloc", 2)
    assert owners(made).to_json()["overlaps"] == [{"kind": "table", "other": "vmalloc", "pages": 2}]


def test_problems_of_structures_and_names_are_reported_once(made: OwnedPages) -> None:
    made.problems = ("modules: a list was not followed to its end: it is damaged",)
    made.memory.word(0, 0xFFFFFFFF, 1).set(0, MODERN.mapping, 0xFFFF888000000000 | 1 << 30)
    report = owners(made, "name", owners=["file", "stack"])
    assert report.coverage.missing == (
        "modules: a list was not followed to its end: it is damaged.",
        "names of files: 1 could not be read.",
    )
    assert pages(report)["file", "unreadable"] == 1
    assert not report.coverage.complete


def test_vmcoreinfo_alone(made: OwnedPages, monkeypatch: pytest.MonkeyPatch) -> None:
    made.layout = replace(MODERN, unavailable=("hugetlb", "page_pool"))
    asked = []

    def read(inspector: Any, fields: Any) -> Any:
        asked.append(tuple(fields))
        return replace(made.structures, vmap=None, tasks=None, tables=None), ()

    monkeypatch.setattr(owner_finder, "read_structures", read)
    report = owners(made, "name")
    assert asked == [("memmap",)]
    assert pages(report)["file", ""] == 22
    assert pages(report)["slab", ""] == 10
    assert pages(report)["free", "buddy"] == FREE_PAGES
    assert not report.coverage.complete
    assert any("VMCOREINFO alone" in sentence for sentence in report.coverage.missing)
    sums_hold(report, PAGES)


def test_a_kernel_that_lacks_structures_loses_kinds(made: OwnedPages) -> None:
    made.problems = ("vmalloc areas: this kernel has none",)
    made.structures = replace(made.structures, vmap=None, tasks=None)
    report = owners(made)
    kinds = {row.kind: row.pages for row in report.rows}
    assert not {"vmalloc", "stack"} & set(kinds)
    assert kinds["unknown"] == PAGES - FREE_PAGES - 22 - 5 - 10 - 4
    assert kinds["table"] == 4
    assert report.coverage.missing == ("vmalloc areas: this kernel has none.",)
    assert not report.coverage.complete


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", ["kind", "name", "file", "task"])
def test_damaged_struct_pages(seed: int, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, memory_map = damaged(seed)
    kernel = OwnedPages()
    monkeypatch.setattr(owner_finder, "read_structures", kernel.read_structures)

    def read(address: int, n: int, _offset: int, _physical: bool) -> bytes:
        return reads.read(address, n) if address % SIZE == 0 else bytes(n)

    first = MODERN.vmemmap + START * SIZE
    kernel.kernel.prog.add_memory_segment(first, reads.words.nbytes, read)
    inspector = replace(kernel.inspector(), memory_map=memory_map)
    report = count_owners(inspector, by, Request(), fold=fold_here)
    spanned = count(memory_map.spanned)
    sums_hold(report, spanned)
    assert report.coverage.spanned == spanned
    assert report.coverage.unreadable == 64
    assert not report.coverage.complete
    if by == "kind":
        kinds = {row.kind: row.pages for row in report.rows}
        assert kinds["unreadable"] == 64
        uses = summarise(inspector, ["use"], Request(), fold=fold_here, counters=False)
        pages_of = {row.key[0]: row.pages for row in uses.rows}
        assert kinds["damaged"] == pages_of["conflict"] + pages_of.get("hwpoison", 0)
        assert kinds["free"] == pages_of["buddy"] + pages_of["pcp"]
        assert kinds.get("file", 0) == pages_of.get("file", 0)


def test_swap_cache_and_merged_pages_are_anonymous_memory(made: OwnedPages) -> None:
    swapcache = flag("swapbacked") | flag("owner_priv_1")
    made.memory.word(0, 0xFFFFFFFF, 1).set(0, MODERN.flags, swapcache)
    made.memory.word(1, 0, 1).set(1, MODERN.mapping, 0xFFFF888000000043)
    made.kernel.struct("anon_vma", root=made.kernel.ulong)
    report = owners(made, "name", pfn=["0-2"])
    assert {row.kind for row in report.rows} == {"anon"}
