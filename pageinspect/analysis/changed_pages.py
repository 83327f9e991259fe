# SPDX-License-Identifier: GPL-2.0-only
"""Which pages changed between two snapshots of one boot, by their use and owner."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..model.ranges import Range
from ..model.snapshot import Snapshot, SnapshotTable
from .comparable import runs_table, table_of

_Pfns = npt.NDArray[np.int64]
_Key = tuple[str | None, ...]
_WHAT = "a comparison of pages"


class ChangedRun(NamedTuple):
    """Pages whose use or owner changed in the same way; `end` is exclusive."""

    start: int
    end: int
    uses: tuple[str, str]
    """Before and after."""
    owners: tuple[str, str]
    """KIND:NAME or KIND, before and after: untrusted text. If both are the same, the caller or
    file system that differs follows in parentheses."""


@dataclass(frozen=True, slots=True, eq=False)
class PageChanges:
    """Numbers of pages, and the runs of pages that changed."""

    both: int
    """Pages that have a struct page on both sides."""
    same_owner: int
    same_use: int
    changed: int
    """Pages of which the use or the owner differs."""
    only_before: tuple[Range, ...]
    """pfns that only one side has."""
    only_after: tuple[Range, ...]
    bounds: _Pfns
    """First and last pfn, exclusive, of each run, (n, 2)."""
    states: npt.NDArray[np.int64]
    """(n, 4): numbers of the uses before and after, and of the owners, in `uses` and `owners`."""
    uses: tuple[str, ...]
    owners: tuple[_Key, ...]
    """Kind, name, caller and file system."""

    def __len__(self) -> int:
        return len(self.bounds)

    def runs(self) -> Iterator[ChangedRun]:
        """Yield the runs of pages that changed, in order."""
        uses, owners = self.uses, self.owners
        rows = zip(self.bounds.tolist(), self.states.tolist(), strict=True)
        for (start, end), (use, use_after, owner, owner_after) in rows:
            texts = _owner_texts(owners[owner], owners[owner_after])
            yield ChangedRun(start, end, (uses[use], uses[use_after]), texts)


class _Numbers:
    """Numbers that both snapshots share, of texts or tuples of texts."""

    def __init__(self) -> None:
        self.of: dict[_Key, int] = {}

    def add(self, keys: Iterable[_Key]) -> _Pfns:
        """Return the number of each key, (n,)."""
        return np.array([self.of.setdefault(key, len(self.of)) for key in keys], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """The runs of one snapshot, sorted, with numbers that both sides share."""

    starts: _Pfns
    ends: _Pfns
    uses: _Pfns
    owners: _Pfns

    def rows_at(self, pfns: _Pfns) -> _Pfns:
        """Return the row that has each pfn, (n,); -1 for pfns in no run."""
        return _rows_at(self.starts, self.ends, pfns)


def _rows_at(starts: _Pfns, ends: _Pfns, pfns: _Pfns) -> _Pfns:
    if not len(starts):
        return np.full(len(pfns), -1, np.int64)
    rows = np.searchsorted(starts, pfns, "right") - 1
    return np.where((rows >= 0) & (pfns < ends[rows]), rows, -1)


def changed_pages(
    before: Snapshot, after: Snapshot, wanted: Sequence[Range] | None = None
) -> PageChanges:
    """Compare the pages of two snapshots of one boot: all, or those of the `wanted` pfns.

    Owners are the same if kind, name, caller and file system are. Both sides are cut at the union
    of the edges of their runs, so that cost grows with runs, not with pages. Raises
    PageInspectError if a snapshot lacks the tables runs or owners.
    """
    uses, owners = _Numbers(), _Numbers()
    left, right = (_side(snapshot, uses, owners) for snapshot in (before, after))
    bounds = np.array(wanted or (), np.int64).reshape(-1, 2)
    edges = np.unique(
        np.concatenate((left.starts, left.ends, right.starts, right.ends, bounds.reshape(-1)))
    )
    low, high = edges[:-1], edges[1:]
    if wanted is not None:
        inside = _rows_at(bounds[:, 0], bounds[:, 1], low) >= 0
        low, high = low[inside], high[inside]
    rows = left.rows_at(low), right.rows_at(low)
    in_left, in_right = rows[0] >= 0, rows[1] >= 0
    both = in_left & in_right
    low_both, high_both = low[both], high[both]
    at, then = rows[0][both], rows[1][both]
    states = np.stack((left.uses[at], right.uses[then], left.owners[at], right.owners[then]), 1)
    lengths = high_both - low_both
    use_kept, owner_kept = states[:, 0] == states[:, 1], states[:, 2] == states[:, 3]
    differs = ~(use_kept & owner_kept)
    joined, states = _joined(low_both[differs], high_both[differs], states[differs])
    return PageChanges(
        int(lengths.sum()),
        int(lengths[owner_kept].sum()),
        int(lengths[use_kept].sum()),
        int(lengths[differs].sum()),
        _ranges(low, high, in_left & ~in_right),
        _ranges(low, high, in_right & ~in_left),
        joined,
        states,
        tuple(text or "" for (text,) in uses.of),
        tuple(owners.of),
    )


def _side(snapshot: Snapshot, uses: _Numbers, owners: _Numbers) -> _Side:
    runs = runs_table(snapshot, _WHAT)
    starts = np.asarray(runs["pfn"], np.int64)
    use = runs["use"]
    of_value = uses.add((value,) for value in (*use.values, None))
    return _Side(
        starts,
        starts + runs["pages"],
        of_value[np.maximum(use.codes, -1)],
        _owners(table_of(snapshot, "owners", _WHAT), runs["owner"].astype(np.int64), owners),
    )


def _owners(table: SnapshotTable, ids: _Pfns, owners: _Numbers) -> _Pfns:
    """Return the shared number of the owner with each of these ids, (n,)."""
    columns = (table[name].tolist() for name in ("kind", "name", "caller", "filesystem"))
    numbers = owners.add(zip(*columns, strict=True))
    known = np.asarray(table["id"], np.int64)
    order = np.argsort(known, kind="stable")
    place = _rows_at(known[order], known[order] + 1, ids)
    none = owners.add([(None,) * 4])
    return np.append(numbers[order], none)[place]


def _owner_texts(before: _Key, after: _Key) -> tuple[str, str]:
    """Return the texts of two owners, which differ if the owners do."""
    texts = _owner_text(before), _owner_text(after)
    differs = [i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    if not differs or texts[0] != texts[1]:
        return texts
    more = (", ".join(key[i] or "not known" for i in differs) for key in (before, after))
    first, second = (f"{text} ({rest})" for text, rest in zip(texts, more, strict=True))
    return first, second


def _owner_text(key: _Key) -> str:
    kind, name = key[0] or "", key[1] or ""
    return f"{kind}:{name}" if name else kind


def _joined(
    low: _Pfns, high: _Pfns, states: npt.NDArray[np.int64]
) -> tuple[_Pfns, npt.NDArray[np.int64]]:
    """Join adjacent segments with equal states; return the bounds, (n, 2), and the states."""
    begins = np.ones(len(low), np.bool_)
    begins[1:] = (low[1:] != high[:-1]) | (states[1:] != states[:-1]).any(axis=1)
    last = np.append(begins[1:], np.ones(min(len(low), 1), np.bool_))
    return np.stack((low[begins], high[last]), 1), states[begins]


def _ranges(low: _Pfns, high: _Pfns, chosen: npt.NDArray[np.bool_]) -> tuple[Range, ...]:
    bounds, _ = _joined(low[chosen], high[chosen], np.zeros((int(chosen.sum()), 1), np.int64))
    return tuple((start, end) for start, end in bounds.tolist())
