# SPDX-License-Identifier: GPL-2.0-only
"""The frees that `trace --format json` counted, as a table of a snapshot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..model.snapshot import SnapshotTable
from .trace_file import of_trace


def read_frees(path: Path) -> SnapshotTable:
    """Return the frees in a file that trace wrote, as the table `frees`.

    There is a row for each type and, if the trace has them, for each caller of a type; frees whose
    caller is not in the file have a row without one. Raises PageInspectError.
    """
    return of_trace(path, frees_of)


def frees_of(document: dict[str, Any]) -> SnapshotTable:
    """Return the frees in the JSON document of a trace, as the table `frees`."""
    return SnapshotTable.of_rows("frees", _rows(document))


def _rows(document: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    seconds = document["duration_ns"] / 1e9
    by_caller = _by_caller(document)
    for row in document["typed"]:
        verdicts = (row["expected"], row["disallowed"], seconds)
        left = [row["frees"], row["pages"]]
        for (name, caller), (frees, pages) in by_caller.items():
            if name == row["type"]:
                left = [left[0] - frees, left[1] - pages]
                yield name, caller, frees, pages, *verdicts
        if any(left) or not row["frees"]:
            yield row["type"], None, *left, *verdicts


def _by_caller(document: dict[str, Any]) -> dict[tuple[str, str], tuple[int, int]]:
    by = document.get("by", [])
    if "caller" not in by:
        return {}
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for row in document["rows"]:
        key = row["type"], row["key"][by.index("caller")]
        frees, pages = sums.get(key, (0, 0))
        sums[key] = frees + row["frees"], pages + row["pages"]
    return sums
