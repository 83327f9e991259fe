# SPDX-License-Identifier: GPL-2.0-only
"""Reports of a snapshot that was made by hand, with numbers that were counted by hand."""

from dataclasses import replace
from typing import Any

import pytest
from saved_tables import KERNEL, TIME, owner, run, snapshot

from pageinspect.errors import PageInspectError, UsageError
from pageinspect.model.snapshot import TABLES, Snapshot, SnapshotTable
from pageinspect.report.listing import PagesListing, RunsListing
from pageinspect.report.selection import Request
from pageinspect.saved.reports import SavedReports

ALL = Request()
FREE = {"use": "buddy", "type": "buddy", "mobility": "free", "owner": 1}
FILE = {"use": "file", "untyped": "mapped", "mobility": "movable", "remedy": "move or drop"}
SLAB = {"use": "slab", "type": "slab", "migratetype": "unmovable"}
DENTRY = {**SLAB, "remedy": "reclaim", "mobility": "reclaimable"}
NORMAL = {"zone": "Normal", "node": 1}
HUGETLB = {"use": "hugetlb", "type": "hugetlb", "mobility": "movable", "remedy": "move", **NORMAL}
OWNERS = (
    # Not in order of ids; two deleted files have one name, and two caches as well.
    owner(9, "slab", "dentry"),
    owner(1, "free", "buddy"),
    owner(2, "file", "/a (deleted)", filesystem="ext4 on vda"),
    owner(3, "file", "/a (deleted)", filesystem="ext4 on vda"),
    owner(5, "vmalloc", "nft_chain_add", caller="nft_chain_add+0x10"),
    owner(7, "hugetlb", "2 MiB, free", reserved=0x200),
    owner(8, "slab", "dentry"),
)
RUNS = (
    # DMA: two blocks of 2 MiB.
    run(0, 0x100, folios=1, order=8, **FREE),
    run(0x100, 0x100, **FILE, owner=2),
    run(0x200, 0x80, folios=0x10, order=3, **DENTRY, owner=8),
    run(0x280, 0x80, folios=2, order=6, **FREE),
    run(0x300, 4, use="kernel", owner=5, migratetype="unmovable"),
    run(0x304, 0x3C, **FILE, owner=3),
    run(0x340, 0xC0, folios=3, order=6, **FREE),
    # Normal: two huge pages, a hole, and a part of a block.
    run(0x400, 0x400, folios=2, order=9, **HUGETLB, owner=7),
    run(0xC00, 0x10, **SLAB, freeing=True, owner=9, **NORMAL),
)
COUNTERS = (
    ("type", "buddy", ["buddy"], "NR_FREE_PAGES", 1, 2, 3, "differs", "some reason"),
    ("owner", "free", ["free"], "NR_FREE_PAGES", 4, 5, 6, "verified", ""),
    ("use", "buddy", ["buddy"], "NR_FREE_PAGES", 7, 8, 9, "explained", "a lock"),
)


@pytest.fixture
def saved() -> SavedReports:
    return SavedReports(snapshot(RUNS, OWNERS, counters=COUNTERS))


def numbers(saved: SavedReports, by: list[str], request: Request = ALL) -> dict[Any, Any]:
    report = saved.summary(by, request)
    return {row.key[0] if len(by) == 1 else row.key: (row.pages, row.folios) for row in report.rows}


def test_summary(saved: SavedReports) -> None:
    untyped = 0x100 + 4 + 0x3C
    assert numbers(saved, ["type"]) == {
        "buddy": (0x240, 6),
        "slab": (0x90, 0x20),
        "hugetlb": (0x400, 2),
        "untyped": (untyped, untyped),
    }
    report = saved.summary(["type"], ALL)
    assert {row.key[0]: row.value for row in report.rows} == {
        "buddy": "0xf0",
        "slab": "0xf5",
        "hugetlb": "dtor",
        "untyped": None,
    }
    assert dict(report.rows[-1].split) == {"mapped": 0x13C, "reset": 4}
    assert report.freeing == 0x10
    assert (report.coverage.spanned, report.coverage.complete) == (0x810, True)
    (check,) = report.counters
    assert (check.counted, check.before, check.kernel, check.uses) == (1, 2, 3, ("buddy",))
    (check,) = saved.summary(["use"], ALL).counters
    assert (check.verdict, check.why) == ("explained", "a lock")
    assert not saved.summary(["use"], ALL, counters=False).counters
    assert not saved.summary(["use"], Request(types=("slab",))).counters
    assert numbers(saved, ["zone"]) == {"DMA": (0x400, 6 + 0x10 + 0x140), "Normal": (0x410, 0x12)}
    assert numbers(saved, ["node", "order"])["1", "9"] == (0x400, 2)


def test_summary_by_owner_has_what_owners_lack(saved: SavedReports) -> None:
    found = numbers(saved, ["owner"])
    assert found == {
        "free": (0x240, 6),
        "file": (0x13C, 0x13C),
        "slab": (0x90, 0x20),
        "vmalloc": (4, 4),
        "hugetlb": (0x400, 2),
    }
    assert saved.summary(["owner"], ALL).coverage.missing == ("Owners lack something.",)


def test_selections(saved: SavedReports) -> None:
    # Half of the first free block of order 6 in 0x280, and 8 slabs of order 3.
    part = Request(pfn=("0x240-0x2a0",))
    assert numbers(saved, ["use"], part) == {"buddy": (0x20, 1), "slab": (0x40, 8)}
    assert saved.summary(["use"], part).coverage.spanned == 0x60
    assert numbers(saved, ["use"], Request(pfn=("zone:Normal",), uses=("slab",))) == {
        "slab": (0x10, 0x10)
    }
    dentries = Request(owners=("slab:dentry",))
    assert numbers(saved, ["zone"], dentries) == {"DMA": (0x80, 0x10), "Normal": (0x10, 0x10)}
    assert saved.summary(["zone"], dentries).coverage.spanned == 0x810
    assert numbers(saved, ["use"], Request(owners=("file",), pfn=("0x1f0+0x118",))) == {
        "file": (0x14, 0x14)
    }
    with pytest.raises(UsageError, match="none of the pages belongs to an owner of kind file"):
        saved.summary(["type"], Request(owners=("file:/nope",)))
    with pytest.raises(UsageError, match="no page type 'zsmalloc'"):
        saved.summary(["type"], Request(types=("zsmalloc",)))
    with pytest.raises(UsageError, match="no pfn of 0x900 has a struct page"):
        saved.summary(["type"], Request(pfn=("0x900",)))


def rows(saved: SavedReports, request: Request) -> list[tuple[int, int, str, str, int]]:
    found = saved.list(RunsListing, request).to_json()["runs"]
    return [(r["start"], r["end"], r["use"], r["type"], r["order"]) for r in found]


def test_list(saved: SavedReports) -> None:
    assert rows(saved, Request(types=("buddy",))) == [
        (0, 0x100, "buddy", "buddy", 8),
        (0x280, 0x300, "buddy", "buddy", 6),
        (0x340, 0x400, "buddy", "buddy", 6),
    ]
    # Runs of different owners are one, and a hole ends one.
    assert rows(saved, Request(owners=("slab", "hugetlb"))) == [
        (0x200, 0x280, "slab", "slab", 3),
        (0x400, 0x800, "hugetlb", "hugetlb", 9),
        (0xC00, 0xC10, "slab", "slab", 0),
    ]
    assert rows(saved, Request(freeing=True)) == [(0xC00, 0xC10, "slab", "slab", 0)]
    with pytest.raises(PageInspectError, match="list --each needs struct pages, and a snapshot"):
        saved.list(PagesListing, ALL)


def test_runs_of_two_owners_are_one_run_and_a_hole_ends_it() -> None:
    saved = SavedReports(
        snapshot([run(0, 4), run(4, 4, owner=1), run(9, 1)], [owner(0, "free"), owner(1, "free")])
    )
    assert rows(saved, ALL) == [(0, 8, "kernel", "untyped", 0), (9, 10, "kernel", "untyped", 0)]


def test_owners(saved: SavedReports) -> None:
    report = saved.owners("kind", ALL)
    assert {row.kind: row.pages for row in report.rows} == {
        "free": 0x240,
        "file": 0x13C,
        "slab": 0x90,
        "vmalloc": 4,
        "hugetlb": 0x400,
    }
    assert [(c.name, c.counted) for c in report.counters] == [("free", 4)]
    assert [(*overlap,) for overlap in report.overlaps] == [("vmalloc", "stack", 4)]
    assert report.coverage.missing == ("Owners lack something.",)
    named = saved.owners("name", ALL)
    assert [(row.kind, row.name, row.pages, row.file_system) for row in named.rows] == [
        ("free", "buddy", 0x240, ""),
        ("hugetlb", "2 MiB, free", 0x200, ""),
        # Of the free huge pages, some are reserved.
        ("hugetlb", "2 MiB, reserved", 0x200, ""),
        ("file", "/a (deleted)", 0x100, "ext4 on vda"),
        # Two caches with one name are one row, and two files are two.
        ("slab", "dentry", 0x90, ""),
        ("file", "/a (deleted)", 0x3C, "ext4 on vda"),
        ("vmalloc", "nft_chain_add", 4, ""),
    ]
    callers = saved.owners("caller", ALL)
    assert [(row.name, row.pages) for row in callers.rows] == [("nft_chain_add+0x10", 4)]
    assert callers.others == 0x810 - 4
    assert [row.pages for row in saved.owners("file", ALL).rows] == [0x100, 0x3C]


def test_owners_of_a_selection(saved: SavedReports) -> None:
    by_type = saved.owners("name", Request(types=("slab",)))
    assert [(row.name, row.pages) for row in by_type.rows] == [("dentry", 0x90)]
    # Overlaps are of the pages that were read, whatever their types.
    assert (len(by_type.overlaps), by_type.counters) == (1, ())
    # Reservations are a number of the whole machine.
    part = saved.owners("name", Request(pfn=("0x3f0-0x800",)))
    assert [(row.name, row.pages) for row in part.rows] == [("2 MiB, free", 0x400), ("buddy", 0x10)]
    assert part.overlaps == ()
    with pytest.raises(PageInspectError, match="the pages of cgroups only for all pages"):
        saved.owners("cgroup", Request(types=("slab",)))
    with pytest.raises(UsageError, match="owners cannot be counted by 'type'"):
        saved.owners("type", ALL)


def test_owners_by_cgroup() -> None:
    cgroups = (("/a", "file", 2, 8192), ("/a", "slab", 1, 5000), ("/b", "slab", 0, 4095))
    report = SavedReports(snapshot(RUNS, OWNERS, cgroups=cgroups)).owners("cgroup", ALL)
    assert [(row.kind, row.name, row.pages, row.more_bytes) for row in report.rows] == [
        ("file", "/a", 2, 0),
        ("slab", "/a", 1, 904),
        ("slab", "/b", 0, 4095),
    ]
    assert report.others == 0x810 - 3


PROCESS = {
    "pid": 812,
    "comm": "bash",
    "cgroup": "/a",
    "mm": 3,
    "exe": "/bin/bash",
    "rss": 40,
    "pss": 30,
    "uss": 20,
    "anon": 10,
    "file": 9,
    "shmem": 8,
    "swap": 7,
    "huge": 6,
    "tables": 5,
    "hugetlb": 4,
    "complete": False,
    "kernel_anon": 4096,
    "kernel_file": 8192,
    "kernel_shmem": 0,
    "kernel_swap": 4096,
    "kernel_tables": 100,
    "kernel_hugetlb": None,
}
NUMBERS = ("rss", "pss", "uss", "anon", "file", "shmem", "swap", "huge", "tables", "hugetlb")
KERNELS = tuple(name for name in PROCESS if name.startswith("kernel_"))


def of_processes(*processes: dict[str, Any], **changes: Any) -> SavedReports:
    names = [f.name for f in TABLES["processes"]]
    found = [[process[name] for name in names] for process in processes]
    return SavedReports(snapshot(RUNS, OWNERS, replace(KERNEL, **changes), processes=found))


def test_processes() -> None:
    unread = {**PROCESS, "pid": 2, "cgroup": None, "exe": None, "mm": 4}
    unread |= dict.fromkeys((*NUMBERS, *KERNELS))
    report = of_processes(PROCESS, unread).processes("pid")
    assert (report.without_memory, report.ended) == (60, 1)
    assert (report.coverage.spanned, report.coverage.unreadable) == (0x300, 2)
    assert report.coverage.missing == ("A process is missing.",)
    last, first = report.rows[::-1]
    assert (last.pid, last.comm, last.cgroup, last.exe) == (812, "bash", "/a", "/bin/bash")
    assert [getattr(last.use, name) for name in NUMBERS] == [40, 30, 20, 10, 9, 8, 7, 6, 5, 4]
    assert (last.use.readable, last.use.whole) == (True, False)
    assert last.use.counted() == {
        "anon": 4096,
        "file": 8192,
        "shmem": 0,
        "swap": 4096,
        "tables": 100,
        "hugetlb": None,
    }
    assert (first.pid, first.cgroup, first.exe, first.use.readable) == (2, None, "", False)
    assert first.use.counters is None
    with pytest.raises(UsageError, match="cannot be sorted by 'cgroup'"):
        of_processes(PROCESS).processes("cgroup")


def test_contiguity(saved: SavedReports) -> None:
    report = saved.contiguity()
    blocks = {(zone.zone, zone.order): zone for zone in report.blocks}
    dma = blocks["DMA", 9]
    # The second block has pages of the kernel.
    assert (dma.blocks, dma.free, dma.movable, dma.unmovable) == (2, 0, 1, 1)
    normal = blocks["Normal", 9]
    # The last one is not whole.
    assert (normal.blocks, normal.movable, normal.reserved, normal.with_unmovable) == (3, 2, 1, 1)
    free = {(row.zone, row.order): row.free_blocks for row in report.indexes if row.free_blocks}
    assert free == {("DMA", 6): 5, ("DMA", 8): 1}
    # The migratetype of a pageblock is that of all its pages; here they are not alike.
    blockers = [(row.kind, row.name, row.alone, row.blocks, row.pages) for row in report.blockers]
    assert blockers == [
        ("slab", "dentry", 0, 1, 0x80),
        ("slab", "dentry", 0, 1, 0x10),
        ("vmalloc", "nft_chain_add", 0, 1, 4),
    ]
    assert [row.ranges for row in report.blockers] == [
        *(((0x200, 0x280),), ((0xC00, 0xC10),), ((0x300, 0x304),))
    ]
    assert [(row.kind, row.remedy, row.pages) for row in report.uses] == [
        *(("slab", "reclaim", 0x80), ("slab", "", 0x10), ("kernel", "", 4))
    ]
    (small,) = [zone for zone in saved.contiguity(6).blocks if zone.zone == "DMA"]
    assert (small.blocks, small.free, small.movable) == (16, 4 + 2 + 3, 4)
    assert (small.reclaimable, small.unmovable) == (2, 1)


def test_migratetypes_of_contiguity() -> None:
    found = SavedReports(
        snapshot(
            [
                run(0, 0x200, migratetype="movable", owner=1),
                run(0x200, 0x100, migratetype="unmovable", owner=1),
            ],
            OWNERS,
        )
    )
    types = {(row.zone, row.type): (row.blocks, sum(row.pages)) for row in found.contiguity().types}
    assert types["DMA", "movable"] == (1, 0x200)
    assert types["DMA", "unmovable"] == (1, 0x100)
    assert types["DMA", "reclaimable"] == (0, 0)
    (row,) = found.contiguity().blockers
    assert row.misplaced == 0x200
    no_blocks = replace(KERNEL, pageblock_order=None, migratetypes=())
    runs = [run(0, 0x200, migratetype=None, owner=1)]
    assert SavedReports(snapshot(runs, OWNERS, no_blocks)).contiguity().types == ()


def test_more_sections_than_are_counted_at_a_time() -> None:
    # 4 GiB and 1 TiB: a block of 2 MiB is free in one, and 1 GiB in the other.
    kernel = replace(KERNEL, zones=(replace(KERNEL.zones[0], end=1 << 30),))
    runs = [run(1 << 20, 1 << 9, **FREE), run(1 << 28, 1 << 18, **FREE)]
    report = SavedReports(snapshot(runs, OWNERS, kernel)).contiguity()
    of = {zone.order: (zone.blocks, zone.free, zone.reserved) for zone in report.blocks}
    assert of[9] == (1 + 512, 1 + 512, 0)
    assert of[18] == (2, 1, 1)


def test_a_kernel_without_types() -> None:
    kernel = replace(KERNEL, unavailable=("anon", "freeing"))
    runs = [{**row, "mobility": None} for row in RUNS]
    saved = SavedReports(snapshot(runs, OWNERS, kernel))
    assert saved.summary(["type"], ALL).coverage.unsupported == ("anon", "freeing")
    for ask in (
        saved.contiguity,
        lambda: saved.processes("pss"),
        lambda: saved.summary(["type"], Request(uses=("anon",))),
    ):
        with pytest.raises(PageInspectError, match="not available from VMCOREINFO alone"):
            ask()


def test_unreadable_pages() -> None:
    lost = run(0, 3, use="unreadable", type="unreadable", zone=None, node=None, owner=1)
    runs = [lost, run(3, 1, owner=1)]
    saved = SavedReports(snapshot(runs, OWNERS, counters=COUNTERS))
    report = saved.summary(["zone", "node"], ALL)
    assert {row.key: row.pages for row in report.rows} == {
        ("DMA", "0"): 1,
        ("unreadable", "unreadable"): 3,
    }
    assert (report.coverage.unreadable, report.coverage.spanned) == (3, 4)
    assert saved.summary(["type"], ALL).counters == ()
    assert saved.owners("kind", ALL).counters == ()
    assert saved.contiguity().coverage.unreadable == 3


def test_provenance(saved: SavedReports) -> None:
    report = saved.summary(["type"], ALL)
    assert report.provenance.describe() == (
        f"Linux 7.0, snapshot of h at {TIME} (from a core), types from BTF"
    )
    kernel = report.to_json()["kernel"]
    assert (kernel["source"], kernel["snapshot"]) == ("core", {"host": "h", "time": TIME})
    shown = "\n".join(saved.contiguity().view().lines_after())
    assert f"list -c 'DATASET@{TIME}#h' --owner slab:dentry" in shown


def without(name: str) -> Snapshot:
    whole = snapshot(RUNS, OWNERS)
    return replace(whole, tables={k: v for k, v in whole.tables.items() if k != name})


def test_a_table_that_is_missing() -> None:
    for name in ("runs", "owners"):
        with pytest.raises(PageInspectError, match=f"of h at {TIME} has no table {name}"):
            SavedReports(without(name)).summary(["type"], ALL)
    with pytest.raises(PageInspectError, match="has no table processes"):
        SavedReports(snapshot(RUNS, OWNERS)).processes("pss")
    # Without counters nothing is compared.
    assert SavedReports(without("counters")).summary(["type"], ALL).counters == ()


@pytest.mark.parametrize(
    ("owners", "message"),
    [
        ((owner(1, "free"), owner(1, "file")), "two owners have the same id"),
        ((owner(1, None),), "an owner has no kind"),  # type: ignore[arg-type]
        ((owner(1, "sofa"),), "kind of owner 'sofa' of the snapshot is not known"),
    ],
)
def test_damaged_owners(owners: tuple[dict[str, Any], ...], message: str) -> None:
    with pytest.raises(PageInspectError, match=message):
        SavedReports(snapshot(RUNS[:1], owners)).summary(["type"], ALL)


ZONE = KERNEL.zones[0]


@pytest.mark.parametrize(
    "change",
    [
        {"zone_mask": 256},
        {"node_mask": 1 << 16},
        {"zones": (replace(ZONE, number=8),)},
        {"zones": (replace(ZONE, node=1024),)},
        {"zones": (replace(ZONE, end=1 << 41),)},
        {"zones": (replace(ZONE, start=0x400),)},
        {"zone_names": ("DMA",) * 9},
        {"pageblock_order": 16},
    ],
)
def test_a_kernel_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(PageInspectError, match="the snapshot is damaged: the zones"):
        SavedReports(snapshot(RUNS, OWNERS, replace(KERNEL, **change)))


def test_a_snapshot_of_a_kernel_that_could_not_be_read() -> None:
    with pytest.raises(PageInspectError, match="could not be read: no BTF"):
        SavedReports(snapshot(RUNS, OWNERS, error="no BTF"))
    broken = snapshot(RUNS, OWNERS)
    columns = {**broken.tables["snapshots"].columns, "kernel": ["{}"]}
    tables = {**broken.tables, "snapshots": SnapshotTable("snapshots", columns)}
    with pytest.raises(PageInspectError, match="the column kernel of the table snapshots"):
        SavedReports(replace(broken, tables=tables))
