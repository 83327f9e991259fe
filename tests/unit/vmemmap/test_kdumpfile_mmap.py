# SPDX-License-Identifier: GPL-2.0-only
"""What a process has mapped of a core's file is given back, and nothing else is."""

import mmap
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from smaps import resident
from synthetic import MODERN
from synthetic import SIZE as SIZE_OF_PAGE

from pageinspect.inspector.inspector import Inspector
from pageinspect.model.arch import SECTION_PFNS
from pageinspect.model.memory_map import MemoryMap
from pageinspect.vmemmap import kdumpfile_mmap, reader
from pageinspect.vmemmap.kdumpfile_mmap import KdumpfileMappings

SIZE = 1 << 20


@pytest.fixture
def core(tmp_path: Path) -> Path:
    path = tmp_path / "core"
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    return path


def test_what_was_touched_of_windows_is_given_back_and_is_there_again(core: Path) -> None:
    whole = core.read_bytes()
    with core.open("r+b") as file:
        window = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        own = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    assert window[:] == whole
    own[:] = bytes(SIZE)
    noted = KdumpfileMappings(core)
    noted.note_read(kdumpfile_mmap._EVERY - 1)
    assert resident(core)["r--s"] == SIZE
    noted.note_read(1)
    # What was written to a copy is nowhere else.
    assert resident(core) == {"r--s": 0, "rw-p": SIZE}
    assert own[:] == bytes(SIZE)
    assert window[:] == whole
    noted.note_read(kdumpfile_mmap._EVERY)
    assert resident(core)["r--s"] == 0


@pytest.mark.parametrize("name", [b"a  b ", b"\f", b"\r", "\u2028\x85".encode(), b"\xff\x1c"])
def test_the_path_of_a_core_is_any_bytes(core: Path, name: bytes) -> None:
    odd = core.rename(core.with_name(os.fsdecode(name)))
    with odd.open("rb") as file:
        window = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    # Neither its own lines nor those of another are taken for something else.
    KdumpfileMappings(Path("/another")).note_read(kdumpfile_mmap._EVERY)
    own = KdumpfileMappings(odd)
    own.note_read(kdumpfile_mmap._EVERY)
    assert own._any
    assert len(window) == SIZE


def test_windows_of_other_files_stay_and_none_are_looked_for_once(
    core: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with core.open("rb") as file:
        window = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    assert window[SIZE - 1] == 255
    before = resident(core)
    noted = KdumpfileMappings(core.with_name("another"))
    noted.note_read(kdumpfile_mmap._EVERY)
    assert resident(core) == before
    monkeypatch.setattr(
        KdumpfileMappings, "_drop_cached_pages", lambda _: pytest.fail("looked for again")
    )
    noted.note_read(kdumpfile_mmap._EVERY)


class Passed:
    """Stands for both ways to read a core: adds up what was read and not given back yet."""

    def __init__(self) -> None:
        self.held = self.most = 0

    def read(self, _first: int, n: int) -> np.ndarray:
        self.held += n * SIZE_OF_PAGE
        self.most = max(self.most, self.held)
        return np.zeros((n, SIZE_OF_PAGE // 8), np.uint64)

    def drop_cached_pages(self) -> None:
        self.held = 0

    def note_read(self, size: int) -> None:
        self.held += size


@pytest.mark.parametrize("way", ["pages", "runs"])
def test_a_walk_gives_back_as_it_goes_on(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    memory_map = MemoryMap(((0, 40 * SECTION_PFNS),), ())
    target: Any = SimpleNamespace(prog=None)
    seen: Any = Passed()
    for _ in getattr(Inspector(target, MODERN, memory_map, mapped=seen), way)():
        pass
    assert seen.held == 0
    # Sixteen sections are decoded together at most.
    assert seen.most <= 16 * SECTION_PFNS * SIZE_OF_PAGE
    noted: Any = Passed()
    monkeypatch.setattr(
        reader, "_read", lambda _prog, _layout, first, n, _tables: (seen.read(first, n), None)
    )
    for _ in getattr(Inspector(target, MODERN, memory_map, kdumpfile_mappings=noted), way)():
        pass
    assert noted.held == 40 * SECTION_PFNS * SIZE_OF_PAGE
