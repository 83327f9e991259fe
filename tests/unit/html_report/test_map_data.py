# SPDX-License-Identifier: GPL-2.0-only
"""The data of the map, unpacked and compared with the runs page by page."""

from collections import Counter
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from made_page import each_page, made_contents, unpacked

from pageinspect.html_report.map_data import packed_map
from pageinspect.html_report.owner_list import OwnerList
from pageinspect.model.snapshot import Names, Snapshot, SnapshotTable
from pageinspect.units import printable


@pytest.fixture
def snapshot(monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    return made_contents(monkeypatch).snapshot


def names_of(owners: OwnerList, data: Any) -> list[tuple[str, str]]:
    """Return kind and name of each owner of a page by its place."""
    listed = owners.columns()
    kinds = [*listed["kind"], *data["owners"]["kind"]]
    names = [*listed["name"], *data["owners"]["name"]]
    return [(owners.kinds[kind], name) for kind, name in zip(kinds, names, strict=True)]


def known_names(snapshot: Snapshot) -> dict[int, tuple[str, str]]:
    table = snapshot.tables["owners"]
    columns = (table[name].tolist() for name in ("id", "kind", "name"))
    return {i: (kind, name) for i, kind, name in zip(*columns, strict=True)}


@pytest.mark.parametrize("most", [1, 1000])
def test_each_page_is_as_in_the_runs(snapshot: Snapshot, most: int) -> None:
    owners = OwnerList.of(snapshot, most)
    packed = packed_map(snapshot, owners)
    data = unpacked(packed.text)
    assert packed.order is None
    assert data["exact"] is True
    names, known = names_of(owners, data), known_names(snapshot)
    parts = dict(zip(*data["parts"], strict=True))
    found, pfn = {}, 0
    for i, (look, pages) in enumerate(zip(data["runs"], data["pages"], strict=True)):
        pfn = parts.get(i, pfn)
        use, owner, order = (column[look] for column in data["looks"])
        for _ in range(pages):
            found[pfn] = (data["names"][use], names[owner], order)
            pfn += 1
    expected = each_page(snapshot)
    shown = {pfn: (use, known[owner], order) for pfn, (use, owner, order) in expected.items()}
    assert {pfn: (use, kind, order) for pfn, (use, (kind, _), order) in found.items()} == {
        pfn: (use, kind, order) for pfn, (use, (kind, _), order) in shown.items()
    }
    plain = {pfn for pfn, (_, (_, name), _) in shown.items() if name.isprintable()}
    assert all(found[pfn] == shown[pfn] for pfn in plain)
    escaped = {found[pfn][1][1] for pfn in shown.keys() - plain}
    assert escaped == {r"/\x1b[31mred\u202e"}


def test_a_hole_is_no_page(snapshot: Snapshot) -> None:
    runs = snapshot.tables["runs"]
    kept = np.flatnonzero(np.asarray(runs["pfn"]) % 64 != 0)
    columns = {
        name: column.where(kept) if isinstance(column, Names) else column[kept]
        for name, column in runs.columns.items()
    }
    holed = Snapshot("a", "b", {**snapshot.tables, "runs": SnapshotTable("runs", columns)})
    data = unpacked(packed_map(holed, OwnerList.of(holed, 10)).text)
    ends = [*data["parts"][0][1:], len(data["runs"])]
    there = set()
    for first, last, start in zip(data["parts"][0], ends, data["parts"][1], strict=True):
        there |= set(range(start, start + sum(data["pages"][first:last])))
    assert there == set(each_page(holed))
    assert len(data["parts"][0]) > 1


def test_cells_have_their_pages_by_use_and_their_largest_owner(snapshot: Snapshot) -> None:
    owners = OwnerList.of(snapshot, 10)
    most = len(packed_map(snapshot, owners).text) - 1
    packed = packed_map(snapshot, owners, most)
    data = unpacked(packed.text)
    assert packed.order == data["order"]
    assert data["exact"] is False
    assert len(packed.text) <= most
    names, known = names_of(owners, data), known_names(snapshot)
    uses: dict[int, Counter[str]] = {}
    of_owners: dict[int, Counter[tuple[str, str]]] = {}
    for pfn, (use, owner, _) in each_page(snapshot).items():
        cell = pfn >> data["order"]
        uses.setdefault(cell, Counter())[use] += 1
        kind, name = known[owner]
        of_owners.setdefault(cell, Counter())[kind, printable(name)] += 1
    at = 0
    for i, cell in enumerate(accumulate(data["gaps"])):
        n = data["n"][i]
        here = zip(data["uses"][at : at + n], data["pages"][at : at + n], strict=True)
        assert {data["names"][use]: pages for use, pages in here} == uses.pop(cell)
        assert of_owners[cell].most_common(1)[0][1] == data["owned"][i]
        assert of_owners[cell][names[data["owner"][i]]] == data["owned"][i]
        at += n
    assert not uses


def test_zones_and_migratetypes_are_spans(snapshot: Snapshot) -> None:
    data = unpacked(packed_map(snapshot, OwnerList.of(snapshot, 10)).text)
    assert data["zones"] == [[0, 0x400, "DMA32", 0]]
    assert data["migratetypes"][0][0] == 0
    assert sum(pages for _, pages, _ in data["migratetypes"]) == 0x400


def test_memory_without_pages(snapshot: Snapshot) -> None:
    none = {
        name: column.where([]) if isinstance(column, Names) else column[:0]
        for name, column in snapshot.tables["runs"].columns.items()
    }
    empty = Snapshot("a", "b", {**snapshot.tables, "runs": SnapshotTable("runs", none)})
    assert unpacked(packed_map(empty, OwnerList.of(empty, 10)).text)["runs"] == []
    assert unpacked(packed_map(empty, OwnerList.of(empty, 10), 1).text)["pages"] == []
