# SPDX-License-Identifier: GPL-2.0-only
"""Owners of a page: sums of those that have one name, and those that tables leave out."""

import numpy as np

from pageinspect.html_report.owner_list import OwnerList
from pageinspect.model.snapshot import Snapshot, SnapshotTable

ROWS = [
    # id, kind, name, caller, filesystem, pages, reserved
    (7, "anon", "bash[1]", None, None, 4, None),
    (3, "file", "/a", None, "ext4 on vda", 10, None),
    (5, "anon", "bash[1]", None, None, 8, None),
    (9, "file", "/a", None, "ext4 on vdb", 1, None),
    (1, "file", "/b", None, "ext4 on vda", 2, None),
]
SNAPSHOT = Snapshot("h", "t", {"owners": SnapshotTable.of_rows("owners", ROWS)})


def test_owners_with_one_name_are_one() -> None:
    owners = OwnerList.of(SNAPSHOT, 10)
    found = owners.columns()
    kinds = [owners.kinds[kind] for kind in found["kind"]]
    assert list(zip(kinds, found["name"], found["filesystem"], found["pages"], strict=True)) == [
        ("anon", "bash[1]", "", 12),
        ("file", "/a", "ext4 on vda", 10),
        ("file", "/b", "ext4 on vda", 2),
        ("file", "/a", "ext4 on vdb", 1),
    ]
    assert owners.of_ids(np.array([7, 5, 3, 9, 1, 2])).tolist() == [0, 0, 1, 3, 2, -1]


def test_what_tables_leave_out_is_counted_and_can_be_added() -> None:
    owners = OwnerList.of(SNAPSHOT, 1)
    found = owners.columns()
    assert found["name"] == ["bash[1]", "/a"]
    assert found["others"] == [[owners.kinds.index("file"), 2, 3]]
    places, more = owners.places(np.array([1, 3, -1, 0]))
    assert places.tolist() == [1, 2, -1, 0]
    assert more == {"kind": [owners.kinds.index("file")], "name": ["/a"]}


def test_names_that_are_not_whole_are_marked() -> None:
    rows = [
        (1, "file", "/a", None, "ext4", 2, None),
        (2, "file", "/" + "b" * 4000, None, "ext4", 1, None),
    ]
    snapshot = Snapshot("h", "t", {"owners": SnapshotTable.of_rows("owners", rows)})
    assert OwnerList.of(snapshot, 10).columns()["cut"] == [1]
