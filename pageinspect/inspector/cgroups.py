# SPDX-License-Identifier: GPL-2.0-only
"""The pages of memory cgroups as a table of a snapshot."""

from dataclasses import replace

from ..model.snapshot import HEADER, Snapshot, SnapshotTable
from ..report.selection import Request
from .fold import Fold
from .inspector import Inspector
from .owners import count_owners


def with_cgroups(snapshot: Snapshot, inspector: Inspector, *, fold: Fold) -> Snapshot:
    """Return a snapshot of this kernel with the table `cgroups`. Raises PageInspectError.

    take() does not make it: the objects of every slab are read, to see who is charged for them.
    """
    report = count_owners(inspector, "cgroup", Request(), fold=fold, top=0)
    size = inspector.layout.page_size
    rows = [
        (row.name, row.kind, row.pages, row.pages * size + row.more_bytes) for row in report.rows
    ]
    header = snapshot.tables[HEADER].columns
    missing = dict.fromkeys((*snapshot.header("missing"), *report.coverage.missing))
    tables = {
        **snapshot.tables,
        "cgroups": SnapshotTable.of_rows("cgroups", rows),
        HEADER: SnapshotTable(HEADER, {**header, "missing": [[*missing]]}),
    }
    return replace(snapshot, tables=tables)
