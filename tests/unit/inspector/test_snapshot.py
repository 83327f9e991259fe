# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots of a kernel made by hand: what is in each table, and what damage does to it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blocked_pages import ORDER, PINNED, BlockedPages
from drgn import FaultError
from owned_pages import FREE, FREE_PAGES, MEMCGS, PAGES, CgroupNames
from synthetic import MODERN, SIZE, VMEMMAP

from pageinspect.errors import PageInspectError
from pageinspect.inspector import owner_names, owner_walk
from pageinspect.inspector import snapshot as snapshot_module
from pageinspect.inspector.contiguity import find_contiguity
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.inspector import Inspector
from pageinspect.inspector.slab_cgroups import SlabCharges
from pageinspect.inspector.snapshot import take
from pageinspect.inspector.summary import summarise
from pageinspect.model.counters import Counters
from pageinspect.model.saved_kernel import SavedKernel
from pageinspect.model.snapshot import TABLES, Names, Snapshot, SnapshotTable
from pageinspect.report.selection import Request

Row = dict[str, Any]
HOLE = range(0x40, 0x80)
"""Pages of the file b, whose struct pages are one page of memory."""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> BlockedPages:
    kernel = BlockedPages()
    kernel.install(monkeypatch)
    return kernel


def taken(made: BlockedPages, **options: Any) -> Snapshot:
    return take(made.inspector(), host="a host", fold=fold_here, **options)


def rows(snapshot: Snapshot, name: str) -> list[Row]:
    """Return the rows of a table; null is None."""
    table = snapshot.tables[name]
    columns = [
        column.tolist() if isinstance(column, Names | np.ndarray) else [*column]
        for column in table.columns.values()
    ]
    return [dict(zip(table.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def with_hole(made: BlockedPages) -> None:
    """Let the struct pages of HOLE be missing."""
    low, high = HOLE.start * SIZE, HOLE.stop * SIZE

    def read(address: int, count: int, offset: int, _physical: bool) -> bytes:
        if offset < high and offset + count > low:
            raise FaultError("missing", address)
        return made.memory.words.tobytes()[offset : offset + count]

    size = made.memory.words.nbytes
    made.kernel.prog.add_memory_segment(VMEMMAP, size, read)


def run_at(snapshot: Snapshot, pfn: int) -> Row:
    return next(r for r in rows(snapshot, "runs") if r["pfn"] <= pfn < r["pfn"] + r["pages"])


def test_runs_have_every_page_once(made: BlockedPages) -> None:
    at = 0
    for row in rows(taken(made), "runs"):
        assert row["pfn"] == at
        at += row["pages"]
    assert at == PAGES


def test_columns_of_runs(made: BlockedPages) -> None:
    snapshot = taken(made)
    free = {
        "pfn": FREE,
        "pages": FREE_PAGES,
        "folios": 1,
        "use": "buddy",
        "type": "buddy",
        "untyped": None,
        "order": 9,
        "zone": "DMA32",
        "node": 0,
        "migratetype": "unmovable",
        "freeing": False,
        "mobility": "free",
        "remedy": "",
    }
    found = run_at(snapshot, FREE)
    assert {name: found[name] for name in free} == free
    pinned = run_at(snapshot, PINNED)
    assert (pinned["pages"], pinned["folios"], pinned["use"]) == (1, 1, "file")
    assert (pinned["type"], pinned["untyped"]) == ("untyped", "reset")
    assert (pinned["migratetype"], pinned["mobility"]) == ("movable", "unmovable")
    assert pinned["remedy"] == "unpin"
    assert run_at(snapshot, 0x80)["mobility"] == "reclaimable"


def test_slabs_of_one_cache_are_one_run(made: BlockedPages) -> None:
    # Two slabs of four pages each, one after the other.
    cache = int(made.memory.words[0x180, MODERN.slab_cache // 8])
    for head in (0x190, 0x194):
        made.memory.compound(head, 2).word(head, 0xF5000000, 1)
        made.memory.set(head, MODERN.slab_cache, cache)
    found = run_at(taken(made), 0x195)
    assert (found["pfn"], found["pages"], found["folios"], found["order"]) == (0x190, 8, 2, 2)


def test_owners_add_up(made: BlockedPages) -> None:
    snapshot = taken(made)
    found = rows(snapshot, "owners")
    sums = dict.fromkeys((row["id"] for row in found), 0)
    for row in rows(snapshot, "runs"):
        sums[row["owner"]] += row["pages"]
    assert sums == {row["id"]: row["pages"] for row in found}
    pages = {(row["kind"], row["name"], row["filesystem"]): row["pages"] for row in found}
    # Dentries are two caches of this name.
    assert pages["file", "/a", "ext4 on vda"] == 0x30
    assert pages["vmalloc", "nft_chain_add", None] == 4
    assert pages["table", "bash[812]", None] == 0x50
    assert pages["free", "buddy", None] == FREE_PAGES
    assert sorted(row["pages"] for row in found if row["name"] == "dentry") == [8, 0x40]
    assert {row["caller"] for row in found if row["kind"] == "vmalloc"} == {"nft_chain_add"}
    assert {row["reserved"] for row in found} == {None}


@pytest.mark.parametrize("by", ["use", "type", "order", "node"])
def test_totals_are_those_of_summary(made: BlockedPages, by: str) -> None:
    report = summarise(made.inspector(), [by], Request(), fold=fold_here)
    sums: dict[str, tuple[int, int]] = {}
    for row in rows(taken(made), "runs"):
        pages, folios = sums.get(str(row[by]), (0, 0))
        sums[str(row[by])] = pages + row["pages"], folios + row["folios"]
    assert sums == {row.key[0]: (row.pages, row.folios) for row in report.rows}


def test_uses_of_the_header_are_the_sums_of_runs(made: BlockedPages) -> None:
    with_hole(made)
    snapshot = taken(made)
    sums: Counter[str] = Counter()
    for row in rows(snapshot, "runs"):
        sums[row["use"]] += row["pages"]
    assert sums["unreadable"] == len(HOLE)
    assert snapshot.header("uses") == sums


def test_blocks(made: BlockedPages) -> None:
    first, second = rows(taken(made), "blocks")
    assert (first["pfn"], second["pfn"]) == (0, 0x200)
    assert (first["zone"], first["node"], first["migratetype"]) == ("DMA32", 0, "movable")
    assert first["pages"] == 0x200
    names = ("free", "movable", "reclaimable", "unmovable", "reserved")
    assert [second[name] for name in names] == [0x200, 0, 0, 0, 0]
    assert [first[name] for name in names] == [0, 0x10B, 0x48, 0x8D, 0x20]
    uses = {"file": 0x10C, "slab": 0x70, "table": 0x50, "kernel": 4, "reserved": 0x20, "idle": 0x10}
    assert first["uses"] == uses
    assert second["uses"] == {"buddy": 0x200}


def test_a_block_of_two_zones_is_two_rows(made: BlockedPages) -> None:
    inspector = made.inspector()
    (zone,) = inspector.memory_map.zones
    zones = (replace(zone, end=0x100), replace(zone, start=0x100, name="Normal", number=1))
    made.memory.words[0x100:, 0] |= np.uint64(1 << MODERN.zone_bits.shift)
    memory_map = replace(inspector.memory_map, zones=zones, zone_names=("DMA32", "Normal"))
    split = replace(inspector, memory_map=memory_map)
    found = rows(take(split, host="h", fold=fold_here), "blocks")
    assert [(row["pfn"], row["zone"], row["pages"]) for row in found] == [
        (0, "DMA32", 0x100),
        (0, "Normal", 0x100),
        (0x200, "Normal", 0x200),
    ]


def test_pages_outside_all_zones_are_in_no_block(made: BlockedPages) -> None:
    # Their flags name a node that this kernel does not have.
    made.memory.words[0x40:0x80, 0] |= np.uint64(3 << 54)
    snapshot = taken(made)
    first, _ = rows(snapshot, "blocks")
    assert (first["pages"], first["uses"]["file"]) == (0x1C0, 0x10C - 0x40)
    assert run_at(snapshot, 0x40)["node"] == 3


def test_cgroups(made: BlockedPages, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = MEMCGS
    charges = SlabCharges(Counter({second: 5 * 4096 + 700}), unreadable=2)
    monkeypatch.setattr(owner_names, "MemoryCgroupNames", CgroupNames)
    monkeypatch.setattr(owner_walk, "charged_objects", lambda *_: charges)
    # Pages of the file a, and of b; one in the middle of a run.
    for pfn, word in ((0x10, first), (0x11, first), (0x50, second), (0x60, first)):
        made.memory.set(pfn, MODERN.memcg, word)
    snapshot = taken(made)
    found = {(row["cgroup"], row["kind"]): row for row in rows(snapshot, "cgroups")}
    assert {key: (row["pages"], row["bytes"]) for key, row in found.items()} == {
        ("/a", "file"): (3, 3 * 4096),
        ("/b", "file"): (1, 4096),
        ("/b", "slab"): (5, 5 * 4096 + 700),
    }
    assert "objects of slabs by cgroup: 2 items could not be read." in snapshot.header("missing")


def test_pieces_of_a_walk_make_the_same_tables(made: BlockedPages) -> None:
    def fold(inspector: Inspector, wanted: Any, work: Any, **_: Any) -> Iterator[Any]:
        for start, end in wanted:
            for at in range(start, end, 0x40):
                yield work(inspector, [(at, min(at + 0x40, end))])

    parts = take(made.inspector(), host="a host", fold=fold)
    whole = taken(made)
    for name in ("runs", "owners", "blocks"):
        assert rows(parts, name) == rows(whole, name)


def test_header_and_kernel(made: BlockedPages) -> None:
    made.layout = replace(made.layout, memcg=None)
    snapshot = taken(made)
    assert snapshot.host == "a host"
    assert (snapshot.header("release"), snapshot.header("source")) == ("7.0", "core")
    assert (snapshot.header("spanned"), snapshot.header("unreadable")) == (PAGES, 0)
    assert snapshot.header("tables") == ["runs", "owners", "processes", "blocks", "cgroups"]
    kernel = SavedKernel.from_json(snapshot.header("kernel"))
    inspector = made.inspector()
    assert kernel.provenance == inspector.target.provenance
    assert kernel.scheme == inspector.layout.scheme
    assert kernel.zones == inspector.memory_map.zones
    assert (kernel.pageblock_order, kernel.migratetypes[1]) == (9, "movable")
    assert kernel.processes is not None
    assert snapshot.header("missing") == [*kernel.processes.missing]
    assert kernel.missing == {"owners": (), "contiguity": (), "cgroups": ()}


def test_only_some_tables(made: BlockedPages) -> None:
    snapshot = taken(made, tables=["owners"])
    assert {*snapshot.tables} == {"owners", "snapshots"}
    assert snapshot.header("tables") == ["owners"]
    assert snapshot.header("missing") == []


def test_every_column_can_be_made_of_no_rows() -> None:
    for name, fields in TABLES.items():
        assert [*SnapshotTable.of_rows(name, []).columns] == [f.name for f in fields]


def test_struct_pages_that_cannot_be_read(made: BlockedPages) -> None:
    with_hole(made)
    snapshot = taken(made)
    found = run_at(snapshot, HOLE.start)
    assert (found["pfn"], found["pages"]) == (HOLE.start, len(HOLE))
    assert (found["use"], found["type"], found["untyped"]) == ("unreadable", "unreadable", None)
    assert (found["zone"], found["node"]) == (None, None)
    assert snapshot.header("unreadable") == len(HOLE)


def test_counters_of_damaged_memory_are_left_out(
    made: BlockedPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "read_counters", lambda _: Counters({"NR_FREE_PAGES": 7}))
    monkeypatch.setattr(snapshot_module, "marking_of", lambda _: None)
    found = rows(taken(made), "counters")
    buddy = [row for row in found if row["name"] == "buddy"]
    assert [row["report"] for row in buddy] == ["type", "use", "owner"]
    for row in buddy:
        assert (row["counted"], row["before"], row["kernel"]) == (FREE_PAGES, 7, 7)
        assert (row["uses"], row["verdict"]) == (["buddy"], "differs")
    with_hole(made)
    assert rows(taken(made), "counters") == []


def test_without_types_there_are_no_blocks_and_no_mobility(made: BlockedPages) -> None:
    made.layout = replace(made.layout, unavailable=("pcp", "zone"))
    snapshot = taken(made)
    assert snapshot.header("tables") == ["runs", "owners"]
    found = rows(snapshot, "runs")
    assert {row["mobility"] for row in found} == {row["zone"] for row in found} == {None}
    assert sum(row["pages"] for row in found) == PAGES


def test_idle_pages_of_a_running_kernel_are_read_again(
    made: BlockedPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    refreshed: list[Inspector] = []

    def again(inspector: Inspector) -> Inspector:
        refreshed.append(inspector)
        return inspector

    monkeypatch.setattr(Inspector, "refreshed", again)
    made.provenance = replace(made.provenance, source="live")
    snapshot = taken(made, tables=["runs", "blocks"])
    assert len(refreshed) == 3
    idle = [row for row in rows(snapshot, "runs") if row["use"] == "idle"]
    assert sum(row["pages"] for row in idle) == 0x10
    assert sum(row["pages"] for row in rows(snapshot, "runs")) == PAGES
    assert sum(row["pages"] for row in rows(snapshot, "blocks")) == PAGES


def test_blocks_are_those_of_contiguity(made: BlockedPages) -> None:
    report = find_contiguity(made.inspector(), fold=fold_here, order=9)
    sums: dict[str, list[int]] = {}
    for row in rows(taken(made), "blocks"):
        numbers = [row[n] for n in ("free", "movable", "reclaimable", "unmovable", "reserved")]
        before = sums.get(row["migratetype"], [0] * 5)
        sums[row["migratetype"]] = [a + b for a, b in zip(before, numbers, strict=True)]
    assert sums == {row.type: [*row.pages] for row in report.types if row.blocks}
    assert ORDER < 9


@pytest.mark.parametrize("found", [None, 1_700_000_000_000_000])
def test_the_time_of_a_core(
    made: BlockedPages, found: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = tmp_path / "core"
    core.touch()
    inspector = made.inspector()
    target = replace(inspector.target, core=core)
    clock = snapshot_module.read_clock(target.prog)
    monkeypatch.setattr(snapshot_module, "read_clock", lambda _: replace(clock, now=found))
    time = snapshot_module.time_of(replace(inspector, target=target))
    assert time == (found or core.stat().st_mtime_ns // 1000)
    info = {"CRASHTIME": "1600000000"}
    crashed = replace(inspector, target=replace(target, vmcoreinfo=info))
    assert snapshot_module.time_of(crashed) == 1_600_000_000_000_000


def test_an_error_of_processes_is_reported(
    made: BlockedPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PageInspectError("no list of tasks", "try again")

    monkeypatch.setattr(snapshot_module, "list_processes", fail)
    snapshot = taken(made, tables=["processes"])
    assert snapshot.header("missing") == ["processes: no list of tasks."]
    assert snapshot.header("tables") == []
