# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots that are made by hand."""

from collections.abc import Sequence
from typing import Any

from pageinspect.model.memory_map import Zone
from pageinspect.model.page_types import memdesc_scheme
from pageinspect.model.provenance import Provenance
from pageinspect.model.saved_kernel import SavedKernel
from pageinspect.model.snapshot import HEADER, TABLES, Snapshot, SnapshotTable

PAGE = 4096
MINUTE = 60_000_000

KERNEL = SavedKernel(
    Provenance("7.3.4-test", "core", "btf"),
    page_shift=12,
    scheme=memdesc_scheme({"slab": 3}),
    markers={},
    flags=(),
    frozen=None,
    resets=None,
    unavailable=(),
    zone_mask=3,
    node_mask=1,
    zones=(Zone(0, "Normal", 0x100, 0x160),),
    zone_names=("Normal",),
    devices=(),
    pageblock_order=9,
    migratetypes=(),
    missing={},
    overlaps=(),
    processes=None,
)

Run = tuple[int, int, str, int]
"""First pfn, pages, use and owner id."""
Owner = tuple[int, str, str]
"""Id, kind and name."""


def table(name: str, rows: Sequence[dict[str, Any]]) -> SnapshotTable:
    """Return a table; values that a row lacks are null or, where that is not allowed, empty."""
    empty = {"text": "", "name": "", "names": (), "pages by name": {}, "bool": False}
    cells = [
        [row.get(f.name, None if f.absent else empty.get(f.kind, 0)) for f in TABLES[name]]
        for row in rows
    ]
    return SnapshotTable.of_rows(name, cells)


def snapshot(
    runs: Sequence[Run] = (),
    owners: Sequence[Owner] = (),
    *,
    host: str = "lab",
    time: str = "20261127T201500Z",
    without: Sequence[str] = (),
    processes: Sequence[dict[str, Any]] = (),
    cgroups: Sequence[dict[str, Any]] = (),
    filesystems: dict[int, str] | None = None,
    **header: Any,
) -> Snapshot:
    """Return a snapshot with these pages, whose owners have the pages of their runs."""
    pages: dict[int, int] = {}
    for _, n, _, owner in runs:
        pages[owner] = pages.get(owner, 0) + n
    first = {
        "release": "7.3.4-test",
        "boot_id": "11111111-2222",
        "boot_time": 5 * MINUTE,
        "source": "core",
        "symbols": "btf",
        "page_size": PAGE,
        "spanned": sum(run[1] for run in runs),
        "schema": 1,
        "kernel": KERNEL.to_json(),
        **header,
    }
    where = filesystems or {}
    rows = {
        "runs": [
            {"pfn": pfn, "pages": n, "use": use, "type": use, "owner": owner, "zone": "Normal"}
            for pfn, n, use, owner in runs
        ],
        "owners": [
            {
                "id": i,
                "kind": kind,
                "name": name,
                "pages": pages.get(i, 0),
                "filesystem": where.get(i),
            }
            for i, kind, name in owners
        ],
        "processes": processes,
        "cgroups": cgroups,
    }
    tables = {name: table(name, found) for name, found in rows.items() if name not in without}
    first["tables"] = [*tables]
    return Snapshot(host, time, {**tables, HEADER: table(HEADER, [first])})


def process(pid: int, comm: str, rss: int | None, pss: int | None, mm: int = 0) -> dict[str, Any]:
    """Return a row of the table processes; sizes are in bytes."""
    whole = rss is not None
    return {"pid": pid, "comm": comm, "mm": mm or pid, "rss": rss, "pss": pss, "complete": whole}
