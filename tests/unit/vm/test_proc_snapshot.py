# SPDX-License-Identifier: GPL-2.0-only
import json
import os
from pathlib import Path

import pytest

from pageinspect.vm import proc_snapshot


def disk_of(folder: Path, content: bytes) -> int:
    path = folder / "disk"
    path.write_bytes(content)
    return os.open(path, os.O_RDONLY)


def test_what_the_guest_left_becomes_files_of_its_length(tmp_path: Path) -> None:
    index, at, data = {}, 4096, b""
    for number, name in enumerate(proc_snapshot.NAMES):
        content = name.encode() * (number * 100_000)
        index[name] = [at + len(data), len(content)]
        data += content + b"\0" * (-len(content) % 4096)
    disk = disk_of(tmp_path, json.dumps(index).encode().ljust(4096) + data + b"\0" * 8192)
    places = proc_snapshot.read_index(disk)
    said = {name: b"".join(proc_snapshot.content(disk, *place)) for name, place in places.items()}
    os.close(disk)
    assert list(said) == list(proc_snapshot.NAMES)
    for number, name in enumerate(proc_snapshot.NAMES):
        assert said[name] == name.encode() * (number * 100_000)


@pytest.mark.parametrize(
    "content",
    [
        bytes(8192),
        b"[" * 8192,
        b"[]",
        b"{}",
        json.dumps(dict.fromkeys(proc_snapshot.NAMES, 7)).encode(),
        json.dumps({name: [-1, 7] for name in proc_snapshot.NAMES}).encode(),
        json.dumps({name: [4096, 1 << 70] for name in proc_snapshot.NAMES}).encode(),
    ],
)
def test_a_disk_that_the_guest_did_not_write_as_it_should(tmp_path: Path, content: bytes) -> None:
    disk = disk_of(tmp_path, content.ljust(8192))
    with pytest.raises(proc_snapshot.NoSnapshotError):
        proc_snapshot.read_index(disk)
    os.close(disk)
