# SPDX-License-Identifier: GPL-2.0-only
"""Reports of a snapshot are those of the kernel that it was taken of, in JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blocked_pages import BlockedPages
from drgn import FaultError
from owned_pages import PAGES
from saved_tables import TIME, owner, run, snapshot
from synthetic import SIZE, VMEMMAP

import pageinspect
from pageinspect.dataset.write import write_snapshot
from pageinspect.errors import PageInspectError, UsageError
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.inspector import Inspector
from pageinspect.inspector.saved import SavedInspector
from pageinspect.inspector.snapshot import take
from pageinspect.report import Report
from pageinspect.saved.reports import SavedReports

Ask = Callable[[Any], Report]
SELECTED: list[dict[str, Any]] = [
    {},
    {"pfn": ["0x31-0xcb", (0x118, 0x305)]},
    {"pfn": (0xC0, 0x1C4), "use": "file,slab"},
    # As many pages of the file a as of the larger file b.
    {"pfn": "0x3c-0x44"},
    {"type": "untyped"},
    {"owner": "file:/*"},
    {"owner": ["slab:dentry", "table"], "pfn": "0x90+0x100"},
]


@pytest.fixture(params=["whole", "with a hole"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Inspector:
    """Blocks of all kinds; the struct pages of 64 pages may be missing."""
    made = BlockedPages()
    made.install(monkeypatch)
    if request.param != "whole":
        words = made.memory.words

        def read(address: int, count: int, offset: int, _physical: bool) -> bytes:
            if offset < 0x80 * SIZE and offset + count > 0x40 * SIZE:
                raise FaultError("missing", address)
            return words.tobytes()[offset : offset + count]

        made.kernel.prog.add_memory_segment(VMEMMAP, words.nbytes, read)
    return made.inspector()


@pytest.fixture
def saved(kernel: Inspector) -> SavedInspector:
    return SavedInspector(SavedReports(take(kernel, host="h", fold=fold_here)))


def assert_equal(kernel: Inspector, saved: SavedInspector, ask: Ask) -> None:
    of_kernel, of_snapshot = ask(kernel).to_json(), ask(saved).to_json()
    assert of_snapshot["kernel"].pop("snapshot")["host"] == "h"
    assert of_snapshot == of_kernel


@pytest.mark.parametrize("selected", SELECTED)
def test_summaries(kernel: Inspector, saved: SavedInspector, selected: dict[str, Any]) -> None:
    for by in ("type", "use", "zone,node", "order", "owner", "owner,use,order"):
        assert_equal(kernel, saved, lambda k, by=by: k.summary(by, **selected))


@pytest.mark.parametrize("selected", [*SELECTED, {"freeing": True}])
def test_lists(kernel: Inspector, saved: SavedInspector, selected: dict[str, Any]) -> None:
    assert_equal(kernel, saved, lambda k: k.list(**selected))


@pytest.mark.parametrize("selected", SELECTED)
def test_owners(kernel: Inspector, saved: SavedInspector, selected: dict[str, Any]) -> None:
    for by in ("kind", "name", "cache", "file", "caller", "task", "module"):
        assert_equal(kernel, saved, lambda k, by=by: k.owners(by, **selected))
    assert_equal(kernel, saved, lambda k: k.owners("kind", top=1, **selected))


@pytest.mark.parametrize("order", [None, 3, 5, 6, 8, 9, 15, 18])
def test_contiguity(kernel: Inspector, saved: SavedInspector, order: int | None) -> None:
    assert_equal(kernel, saved, lambda k: k.contiguity(order=order))


def test_a_dataset_in_python(tmp_path: Path) -> None:
    for host in ("a", "b"):
        runs = [run(0, PAGES, owner=1)]
        write_snapshot(tmp_path, snapshot(runs, [owner(1, "boot")], host=host, processes=()))
    found = pageinspect.open_snapshot(str(tmp_path), host="b", time=TIME[:8])
    assert repr(found) == (
        f"<SavedInspector: Linux 7.0, snapshot of b at {TIME} (from a core), types from BTF>"
    )
    (row,) = found.list()
    assert (row.start, row.end, row.use) == (0, PAGES, "kernel")
    assert found.owners(top=0).rows[0].kind == "boot"
    assert found.processes(sort="rss").rows == ()
    assert "boot" in repr(found.owners())
    with pytest.raises(PageInspectError, match="snapshots of 2 hosts"):
        pageinspect.open_snapshot(tmp_path)
    with pytest.raises(UsageError, match="-1 is not a number of owners"):
        found.contiguity(top=-1)
    with pytest.raises(UsageError, match="cannot have the order 2"):
        found.contiguity(order=2)
