# SPDX-License-Identifier: GPL-2.0-only
"""Adds the frees of intervals to a dataset. All that this needs is loaded before tracing begins."""

import argparse
import contextlib
import time
from collections.abc import Sequence

from ..dataset.lock import writing
from ..dataset.paths import clean, host_folder, microseconds
from ..dataset.prune import keep
from ..dataset.write import cannot_write, encode, write_snapshot
from ..errors import PageInspectError
from ..host.terminal import say
from ..inspector.snapshot_header import snapshot_of_frees
from ..kernel.boot import read_host
from ..model.layout import PageLayout
from ..model.snapshot import Snapshot, SnapshotTable
from ..report.trace import TraceReport
from ..report.trace_words import lost_remark
from ..report.traced_frees import frees_of
from ..target.open import Target


class FreesDataset:
    """Adds the frees of intervals to a dataset."""

    def __init__(self, args: argparse.Namespace, target: Target, layout: PageLayout) -> None:
        """Create the dataset if it is missing, and load what writing needs.

        Raises PageInspectError if it cannot be written.
        """
        self._dataset, self._keep = args.output, args.keep
        self._target, self._layout = target, layout
        self._host = args.host or read_host(target.prog, target.vmcoreinfo)
        if not self._host:
            raise PageInspectError(
                "the name of the machine could not be read from its kernel", "give it: --host NAME"
            )
        host_folder(self._host)
        try:
            with writing(self._dataset, clean(self._host)):
                pass
        except OSError as error:
            raise cannot_write(self._dataset, error) from None
        self._written = 0
        self._said_lost = False
        # pyarrow loads most of itself when it first writes, which may take longer than an interval.
        encode(self._snapshot(SnapshotTable.of_rows("frees", ())))
        self._latest = time.time()

    def write(self, report: TraceReport) -> None:
        """Add the frees of an interval. Raises PageInspectError."""
        missing = [lost_remark(report.lost)] if report.lost.total else []
        snapshot = self._snapshot(frees_of(report.to_json()), missing)
        write_snapshot(self._dataset, snapshot)
        self._written = microseconds(snapshot.time) // 1_000_000
        self._remove_old()
        if missing and not self._said_lost:
            self._said_lost = True
            say(f"{missing[0]} The column missing of each snapshot has what it lacks")

    def _snapshot(self, frees: SnapshotTable, missing: Sequence[str] = ()) -> Snapshot:
        return snapshot_of_frees(
            self._target, self._layout, self._host, frees, missing=missing, after=self._written
        )

    def _remove_old(self) -> None:
        now = time.time()
        if self._keep is not None and now >= self._latest:
            # What could not be removed now is removed next time; the frees were written.
            with contextlib.suppress(PageInspectError):
                keep(self._dataset, self._host, self._keep, of_frees=True)
        self._latest = max(self._latest, now)
