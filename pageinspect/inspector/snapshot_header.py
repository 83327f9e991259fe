# SPDX-License-Identifier: GPL-2.0-only
"""The row of the table `snapshots`, and snapshots that have typed frees alone."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..dataset import paths
from ..kernel.boot import read_boot_id, read_clock
from ..model.saved_kernel import SavedKernel
from ..model.snapshot import HEADER, SCHEMA, Snapshot, SnapshotTable
from ..version import __version__

if TYPE_CHECKING:
    from ..model.layout import PageLayout
    from ..target.open import Target

_US = 1_000_000


def header_of(
    target: "Target",
    kernel: SavedKernel,
    taken: int,
    tables: Iterable[str],
    *,
    missing: Sequence[str] = (),
    spanned: int = 0,
    unreadable: int = 0,
    uses: Mapping[str, int] | None = None,
) -> SnapshotTable:
    """Return the row of a snapshot with these tables, taken at a time in microseconds since 1970.

    `spanned` and `unreadable` are in pages.
    """
    provenance = target.provenance
    row = {
        "taken": taken,
        "release": provenance.release,
        "boot_id": read_boot_id(target.prog),
        "boot_time": read_clock(target.prog).boot,
        "source": provenance.source,
        "symbols": provenance.symbols,
        "page_size": 1 << kernel.page_shift,
        "spanned": spanned,
        "unreadable": unreadable,
        "uses": dict(uses or {}),
        "missing": list(missing),
        "tables": list(tables),
        "kernel": kernel.to_json(),
        "error": None,
        "version": __version__,
        "schema": SCHEMA,
    }
    return SnapshotTable.of_rows(HEADER, [tuple(row.values())])


def kernel_without_memory(target: "Target", layout: "PageLayout") -> SavedKernel:
    """Return what a snapshot has of a kernel whose memory was not read."""
    return SavedKernel(
        provenance=target.provenance,
        page_shift=layout.page_shift,
        scheme=layout.scheme,
        markers={name: marker.kind for name, marker in layout.markers.items()},
        flags=layout.flag_bits,
        frozen=layout.frozen,
        resets=layout.resets,
        unavailable=layout.unavailable,
        zone_mask=layout.zone_bits.mask,
        node_mask=layout.node_field.mask,
        zones=(),
        zone_names=(),
        devices=(),
        pageblock_order=None,
        migratetypes=(),
        missing={},
        overlaps=(),
        processes=None,
    )


def snapshot_of_frees(
    target: "Target",
    layout: "PageLayout",
    host: str,
    frees: SnapshotTable,
    *,
    missing: Sequence[str] = (),
    after: int = 0,
) -> Snapshot:
    """Return a snapshot of now that has the table `frees` alone.

    Its time is later than `after`, in seconds since 1970, if that is the current second.
    """
    taken = time.time_ns() // 1000
    second = taken // _US
    header = header_of(
        target, kernel_without_memory(target, layout), taken, [frees.name], missing=missing
    )
    moment = paths.time_of(second + (second == after))
    return Snapshot(host, moment, {HEADER: header, frees.name: frees})
