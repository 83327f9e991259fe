# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots made by hand."""

from collections.abc import Iterable, Sequence
from typing import Any

from pageinspect.model.memory_map import Zone
from pageinspect.model.page_types import byte_scheme
from pageinspect.model.provenance import Provenance
from pageinspect.model.saved_kernel import SavedKernel, SavedProcesses
from pageinspect.model.snapshot import HEADER, SCHEMA, TABLES, Snapshot, SnapshotTable

TIME = "20261127T201500Z"
KERNEL = SavedKernel(
    provenance=Provenance("7.0", "core", "btf"),
    page_shift=12,
    scheme=byte_scheme({"buddy": 0xF0, "table": 0xF2, "slab": 0xF5}, off_by_one=True),
    markers={"hugetlb": "dtor"},
    flags=(("locked", 0), ("head", 6)),
    frozen=("buddy",),
    resets=False,
    unavailable=(),
    zone_mask=7,
    node_mask=1023,
    zones=(Zone(0, "DMA", 0, 0x400), Zone(1, "Normal", 0x400, 0x1000, 2)),
    zone_names=("DMA", "DMA32", "Normal"),
    devices=(),
    pageblock_order=9,
    migratetypes=("unmovable", "movable", "reclaimable"),
    missing={"owners": ("Owners lack something.",), "contiguity": ()},
    overlaps=(("vmalloc", "stack", 4),),
    processes=SavedProcesses(0x300, 2, ("A process is missing.",), 60, 1),
)

_RUN: dict[str, Any] = {
    "folios": None,
    "use": "kernel",
    "type": "untyped",
    "untyped": "reset",
    "order": 0,
    "zone": "DMA",
    "node": 0,
    "migratetype": "movable",
    "freeing": False,
    "mobility": "unmovable",
    "remedy": "",
    "owner": 0,
}
_OWNER: dict[str, Any] = {"name": "", "caller": None, "filesystem": None, "pages": 0}
_OWNER |= {"reserved": None}


def table(name: str, rows: Iterable[dict[str, Any]]) -> SnapshotTable:
    return SnapshotTable.of_rows(name, [[row[f.name] for f in TABLES[name]] for row in rows])


def run(pfn: int, pages: int, **columns: Any) -> dict[str, Any]:
    """A run of pages: each is a folio unless `folios` says otherwise."""
    row = {**_RUN, "pfn": pfn, "pages": pages, **columns}
    if row["folios"] is None:
        row["folios"] = pages
    if row["type"] != "untyped" and "untyped" not in columns:
        row["untyped"] = None
    return row


def owner(number: int, kind: str, name: str = "", **columns: Any) -> dict[str, Any]:
    return {**_OWNER, "id": number, "kind": kind, "name": name, **columns}


def snapshot(
    runs: Sequence[dict[str, Any]],
    owners: Sequence[dict[str, Any]],
    kernel: SavedKernel = KERNEL,
    host: str = "h",
    error: str | None = None,
    **tables: Iterable[Sequence[Any]],
) -> Snapshot:
    """A snapshot with runs, owners, and rows of other tables."""
    made = {"runs": table("runs", runs), "owners": table("owners", owners)}
    made |= {name: SnapshotTable.of_rows(name, rows) for name, rows in tables.items()}
    header = {
        "taken": 0,
        "release": "7.0",
        "boot_id": None,
        "boot_time": None,
        "source": "core",
        "symbols": "btf",
        "page_size": 4096,
        "spanned": sum(row["pages"] for row in runs),
        "unreadable": 0,
        "missing": [],
        "uses": {},
        "tables": list(made),
        "kernel": kernel.to_json(),
        "error": error,
        "version": "0",
        "schema": SCHEMA,
    }
    return Snapshot(host, TIME, {**made, HEADER: table(HEADER, [header])})
