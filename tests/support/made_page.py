# SPDX-License-Identifier: GPL-2.0-only
"""Pages of the HTML report about a kernel made by hand, with names that are HTML."""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blocked_pages import BlockedPages
from saved_tables import owner, run, snapshot

from pageinspect.html_report.contents import Contents
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.snapshot import take
from pageinspect.model.snapshot import TABLES, Names, Snapshot, SnapshotTable
from pageinspect.report.selection import Request
from pageinspect.saved.reports import SavedReports

IMAGE = "<img src=x onerror=document.title='broken'>"
END = "</script><script>document.title='broken'</script>"
RED = "\x1b[31mred\u202e"
HOSTILE = (IMAGE, END, RED, "'\"&amp;{{ 7*7 }}")
TARGET = ("-c", "the core")
COMMS = ("bash", IMAGE, END, RED)
PSS = (4 << 20, 3 << 20, 9 << 20, 4096)


def made_contents(monkeypatch: pytest.MonkeyPatch) -> Contents:
    """Return what a page shows of BlockedPages."""
    made = BlockedPages()
    made.install(monkeypatch)
    taken = take(made.inspector(), host=IMAGE, fold=fold_here)
    taken = renamed(taken, {"/b": f"/{IMAGE}", "/c": f"/{RED}", "/d": HOSTILE[-1]})
    tables = {**taken.tables, "processes": processes(COMMS, PSS)}
    taken = replace(taken, tables=tables)
    return Contents(
        taken,
        SavedReports(taken),
        check="It was left out.",
        audit=None,
        target=TARGET,
        made_by=("pageinspect", "report", END),
    )


def long_named(letter: str, n: int = 2000) -> Contents:
    """Return what a page shows of n files and n processes whose names are as long as paths get."""
    names = ["/short", *(f"/{letter * 4000}/{i}" for i in range(n - 1))]
    runs = [run(2000 * i, 1500, use="file", owner=i) for i in range(n)]
    owners = [owner(i, "file", name, pages=1500) for i, name in enumerate(names)]
    saved = snapshot(runs, owners)
    tables = {**saved.tables, "processes": processes(names, range(n))}
    saved = replace(saved, tables=tables)
    return Contents(
        saved, SavedReports(saved), check=f"Why: {names[1]}.", audit=None, target=TARGET
    )


def renamed(taken: Snapshot, names: dict[str, str]) -> Snapshot:
    """Return a snapshot whose owners have other names."""
    owners = taken.tables["owners"]
    of_owners: Names = owners["name"]
    changed = Names(of_owners.codes, tuple(names.get(name, name) for name in of_owners.values))
    table = SnapshotTable("owners", {**owners.columns, "name": changed})
    return replace(taken, tables={**taken.tables, "owners": table})


def processes(comms: Sequence[str], pss: Sequence[int]) -> SnapshotTable:
    """Return a table of processes."""
    rows = []
    for pid, (comm, size) in enumerate(zip(comms, pss, strict=True), 10):
        known = {"pid": pid, "comm": comm, "mm": pid, "exe": "/usr/bin/x", "pss": size}
        rows.append([known.get(f.name, 0 if f.name == "rss" else _empty(f.kind)) for f in _FIELDS])
    return SnapshotTable.of_rows("processes", rows)


_FIELDS = TABLES["processes"]


def _empty(kind: str) -> object:
    return {"name": "", "text": "", "bool": True}.get(kind)


def write(folder: Path, text: str) -> Path:
    """Return the path of a page that has been written."""
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


def each_page(taken: Snapshot) -> dict[int, tuple[str, int, int]]:
    """Return use, owner id and order of every pfn, one by one."""
    table = taken.tables["runs"]
    uses, owners = table["use"].tolist(), np.asarray(table["owner"]).tolist()
    rows = zip(table["pfn"].tolist(), table["pages"].tolist(), strict=True)
    orders = table["order"].tolist()
    return {
        pfn: (uses[i], owners[i], orders[i])
        for i, (start, pages) in enumerate(rows)
        for pfn in range(start, start + pages)
    }


def unpacked(text: str) -> Any:
    """Return the data of a page."""
    return json.loads(zlib.decompress(base64.b64decode(text)))


def totals(contents: Contents) -> tuple[dict[str, int], dict[str, int]]:
    """Return the pages by use and by kind of owner, as summary and owners report them."""
    uses = contents.source.summary(["use"], Request()).rows
    kinds = contents.source.owners("kind", Request()).rows
    return {row.key[0]: row.pages for row in uses}, {row.kind: row.pages for row in kinds}
