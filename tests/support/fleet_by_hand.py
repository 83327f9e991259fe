# SPDX-License-Identifier: GPL-2.0-only
"""A dataset of five hosts and four days, whose numbers tests compute again in plain Python."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pageinspect.dataset.write import write_snapshot
from pageinspect.model.snapshot import TABLES, Snapshot, SnapshotTable

DAYS = 4
SPANNED = 1 << 20
ESCAPE = "web-\x1b[31m/5"
"""A name with a terminal escape and a slash."""
HOSTS = ("db-1", "web-1", "web-2", "web-3", ESCAPE)
LEAK = ("module", "leaky")


@dataclass
class Moment:
    """One snapshot as plain values."""

    host: str
    at: datetime
    release: str
    source: str = "live"
    boot: str = "boot"
    uses: dict[str, int] = field(default_factory=dict)
    owners: dict[tuple[str, str], int] = field(default_factory=dict)
    blocks: list[tuple[int, int]] = field(default_factory=list)
    """Free and unmovable pages of each block of 2 MiB."""
    frees: list[tuple[str, str | None, int, int, bool, bool]] = field(default_factory=list)
    error: str | None = None

    @property
    def time(self) -> str:
        return f"{self.at:%Y%m%dT%H%M%SZ}"


def moments() -> list[Moment]:
    """Return the snapshots: a leak on db-1, a host that is rebooted, one without a free block."""
    chance = random.Random(17)  # noqa: S311 - no secret
    made = []
    for n, host in enumerate(HOSTS):
        for day in range(DAYS):
            at = datetime(2026, 11, 2, 3 + n, 0, 0, tzinfo=UTC) + timedelta(days=day)
            owners = {
                ("slab", "dentry"): 4000 + chance.randrange(100),
                ("slab", "kmalloc-64"): 500 + chance.randrange(50),
                ("file", "/usr/lib/libc.so.6"): 450,
                ("free", ""): 900_000 - chance.randrange(1000),
            }
            if host == "db-1":
                owners[LEAK] = 1000 + 5000 * day + chance.randrange(10)
            if host == "web-2" and day == DAYS - 1:
                owners["file", "/var/log/new"] = 1 << 14
            free = 0 if host == "web-3" else 512
            blocks = [(free, 0), (min(free, 100), n), (0, 512 if n % 2 else 0), (0, 7 * n)]
            made.append(
                Moment(
                    host,
                    at,
                    "7.3.4" if host != "web-3" else "6.12.1",
                    "core" if host == "db-1" else "live",
                    f"boot-{day // 2}" if host == "web-1" else "boot",
                    {"buddy": owners["free", ""], "slab": 4500 + n}
                    | ({"table": 77 * n} if n else {}),
                    owners,
                    blocks,
                    [("slab", f"caller_{n}", 10 * n, 20 * n, True, False)]
                    + ([("buddy", None, 1, 1, False, True)] if host == "web-1" else [])
                    + ([("table", "free_table", 9, 9, False, False)] if n > 2 else []),
                )
            )
    failed = Moment("web-3", datetime(2026, 11, 7, tzinfo=UTC), "6.12.1", "core")
    failed.error = "the file is cut off"
    return [*made, failed]


def _tables(moment: Moment) -> Iterator[SnapshotTable]:
    owners = [
        (i, kind, name, None, None, pages, None)
        for i, ((kind, name), pages) in enumerate(moment.owners.items())
    ]
    yield SnapshotTable.of_rows("owners", owners)
    blocks = [
        (512 * i, "Normal", 0, "Movable", 512, free, 512 - free - unmovable, 0, unmovable, 0, {})
        for i, (free, unmovable) in enumerate(moment.blocks)
    ]
    yield SnapshotTable.of_rows("blocks", blocks)
    yield SnapshotTable.of_rows("frees", [(*row, 60.0) for row in moment.frees])


def snapshot_of(moment: Moment) -> Snapshot:
    """Return it as a Snapshot."""
    tables = {} if moment.error else {table.name: table for table in _tables(moment)}
    header: Mapping[str, object] = {
        "taken": int(moment.at.timestamp()) * 1_000_000,
        "release": moment.release,
        "boot_id": moment.boot,
        "boot_time": None,
        "source": moment.source,
        "symbols": "btf",
        "page_size": 4096,
        "spanned": SPANNED,
        "unreadable": 0,
        "uses": moment.uses,
        "missing": [],
        "tables": ["snapshots", *tables],
        "kernel": "{}",
        "error": moment.error,
        "version": "1",
        "schema": 1,
    }
    row = [header[column.name] for column in TABLES["snapshots"]]
    tables["snapshots"] = SnapshotTable.of_rows("snapshots", [row])
    return Snapshot(moment.host, moment.time, tables)


def write(dataset: Path, made: list[Moment]) -> None:
    """Write the snapshots to a dataset."""
    for moment in made:
        write_snapshot(dataset, snapshot_of(moment))
