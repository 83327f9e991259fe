# SPDX-License-Identifier: GPL-2.0-only
"""Whether two snapshots can be compared, how far, and what the comparison lacks."""

from collections.abc import Iterator

import numpy as np

from ..errors import PageInspectError, UsageError
from ..model.arch import MOST_PFNS
from ..model.ranges import Range, count, without
from ..model.saved_kernel import SavedKernel
from ..model.snapshot import Snapshot, SnapshotTable
from ..units import counted, number, size

_SECOND = 1_000_000
"""The precision of a boot time, in microseconds: two boots are further apart."""
_MOST = 4
"""Ranges that a sentence names."""


def check_comparable(before: Snapshot, after: Snapshot) -> None:
    """Raise PageInspectError unless the memory of the snapshots can be compared."""
    for snapshot in (before, after):
        error = snapshot.header("error")
        if error:
            raise PageInspectError(
                f"{moment(snapshot)} has no memory: {error}", "choose another snapshot"
            )
    sizes = [snapshot.header("page_size") for snapshot in (before, after)]
    if sizes[0] != sizes[1]:
        raise UsageError(
            f"pages of {size(sizes[0])} cannot be compared with pages of {size(sizes[1])}",
            "compare two kernels that have pages of one size",
        )


def moment(snapshot: Snapshot) -> str:
    """Return the host and time of a snapshot."""
    return f"{snapshot.host} at {snapshot.time}"


def of_one_boot(before: Snapshot, after: Snapshot) -> bool:
    """Return whether both snapshots are of one boot of one kernel."""
    boots = [snapshot.header("boot_id") for snapshot in (before, after)]
    if all(boots):
        return bool(boots[0] == boots[1])
    times = [snapshot.header("boot_time") for snapshot in (before, after)]
    if None in times or before.header("release") != after.header("release"):
        return False
    return bool(abs(times[0] - times[1]) < _SECOND)


def table_of(snapshot: Snapshot, name: str, what: str) -> SnapshotTable:
    """Return a table that `what` needs. Raises PageInspectError if the snapshot lacks it."""
    table = snapshot.tables.get(name)
    if table is None:
        have = ", ".join(snapshot.header("tables"))
        raise PageInspectError(
            f"{moment(snapshot)} has no table {name}, which {what} needs",
            f"it has {have}: choose another --by, or another snapshot"
            if have
            else "choose another snapshot",
        )
    return table


def runs_table(snapshot: Snapshot, what: str) -> SnapshotTable:
    """Return the table of runs, sorted and disjoint, that `what` needs.

    Raises PageInspectError if the snapshot lacks it, or it is damaged.
    """
    runs = table_of(snapshot, "runs", what)
    damage = damage_of(runs, snapshot.header("spanned"))
    if damage:
        raise PageInspectError(
            f"{moment(snapshot)} is damaged: {damage}", "copy it again from where it comes from"
        )
    return runs


def damage_of(runs: SnapshotTable, spanned: int) -> str:
    """Return what no table of runs of a kernel with `spanned` pages has; empty if all is right.

    Runs are in order of pfn, and do not overlap.
    """
    starts, pages = (np.asarray(runs[name], np.int64) for name in ("pfn", "pages"))
    if not ((pages > 0) & (pages <= MOST_PFNS)).all():
        return "the column pages of the table runs"
    inside = ((starts >= 0) & (starts < MOST_PFNS)).all()
    if not inside or not (starts[1:] >= (starts + pages)[:-1]).all():
        return "the column pfn of the table runs"
    found = int(pages.sum())
    if found != spanned:
        return f"the table runs has {counted(found, 'page')}, and memory has {number(spanned)}"
    return ""


def spans(runs: SnapshotTable) -> tuple[Range, ...]:
    """Return the pfns of a table of runs as runs_table() has it: sorted disjoint ranges."""
    starts = np.asarray(runs["pfn"], np.int64)
    ends = starts + runs["pages"]
    if not len(starts):
        return ()
    apart = starts[1:] != ends[:-1]
    firsts = np.append(True, apart)
    lasts = np.append(apart, True)
    return tuple(zip(starts[firsts].tolist(), ends[lasts].tolist(), strict=True))


def gaps(before: Snapshot, after: Snapshot, *, processes: bool = False) -> tuple[str, ...]:
    """Return a sentence for everything that the comparison lacks, on either side.

    With `processes`, page tables of processes are compared.
    """
    found = []
    for side, snapshot in (("before", before), ("after", after)):
        unreadable = snapshot.header("unreadable")
        if unreadable:
            found.append(f"{counted(unreadable, 'struct page')} of {side} could not be read.")
        sentences = (*(snapshot.header("missing") or ()), *_unavailable(snapshot))
        found += (f"Of {side}: {sentence}" for sentence in sentences)
        whole = table_of(snapshot, "processes", "--by process")["complete"] if processes else ()
        lost = len(whole) - int(np.count_nonzero(whole))
        if lost:
            found.append(
                f"Processes of {side} whose page tables could not all be read: {number(lost)}."
            )
    return (*found, *_span_gaps(before, after))


def _unavailable(snapshot: Snapshot) -> Iterator[str]:
    """Yield sentences on what was not known of the kernel; none if that was not saved."""
    try:
        kernel = SavedKernel.from_json(snapshot.header("kernel"))
    except (ValueError, TypeError):
        return
    if not kernel.provenance.is_whole:
        yield "The core is incomplete."
    if kernel.unavailable:
        yield f"Not available from VMCOREINFO alone: {', '.join(kernel.unavailable)}."


def _span_gaps(before: Snapshot, after: Snapshot) -> Iterator[str]:
    pages = [snapshot.header("spanned") for snapshot in (before, after)]
    if any("runs" not in snapshot.tables for snapshot in (before, after)):
        if pages[0] != pages[1]:
            yield (
                f"Before has {counted(pages[0], 'page')} of memory, and after {number(pages[1])}."
            )
        return
    left, right = (spans(runs_table(snapshot, "a comparison")) for snapshot in (before, after))
    for side, some, others in (("before", left, right), ("after", right, left)):
        alone = without(some, others)
        if alone:
            text = ", ".join(f"{start:#x}-{end:#x}" for start, end in alone[:_MOST])
            more = "" if len(alone) <= _MOST else f" and {number(len(alone) - _MOST)} more"
            yield f"The memory {text}{more} is only in {side}: {counted(count(alone), 'page')}."
