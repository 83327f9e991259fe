# SPDX-License-Identifier: GPL-2.0-only
"""The frees that `trace --format json` counted, as a table of a snapshot."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import PageInspectError
from ..model.snapshot import SnapshotTable
from .base import SCHEMA

_HINT = "give the output of: pageinspect trace --by caller --format json -o FILE -- COMMAND"


def read_frees(path: Path) -> SnapshotTable:
    """Return the frees in a file that trace wrote, as the table `frees`.

    There is a row for each type and, if the trace has them, for each caller of a type; frees whose
    caller is not in the file have a row without one. Raises PageInspectError.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise PageInspectError(f"cannot read {path}: {error.strerror}", _HINT) from None
    except ValueError:
        raise PageInspectError(f"{path} is not one JSON document", _HINT) from None
    try:
        if document["schema"] != SCHEMA:
            raise PageInspectError(
                f"{path} has schema {document['schema']!r}, and {SCHEMA} is expected",
                "read it with the version of pageinspect that wrote it",
            )
        return SnapshotTable.of_rows("frees", _rows(document))
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        raise PageInspectError(f"{path} is not a report of trace", _HINT) from None


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
