# SPDX-License-Identifier: GPL-2.0-only
"""When a guest that is to dump itself is taken to hang."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pageinspect.vm import crash_dump
from pageinspect.vm.errors import GuestSilentError, GuestTimeoutError


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[crash_dump.Disks]:
    files = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("dump", "snapshot")]
    yield crash_dump.Disks(*files)
    for file in files:
        os.close(file)


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(crash_dump, "_SILENCE_S", 0.3)
    monkeypatch.setattr(crash_dump, "_SILENCE_PER_GIB_S", 0.0)
    log = tmp_path / "console"
    log.write_text("")
    return SimpleNamespace(log=log, memory=1 << 30)


def process(guest: Any, *, looks: int, write: Callable[[], object]) -> Any:
    """A process that ends at the given look, and writes before each."""
    left = iter(range(looks))

    def wait(_timeout: float) -> int:
        time.sleep(0.05)
        if next(left, None) is None:
            return 0
        write()
        raise GuestTimeoutError("not yet", console=(), log=guest.log)

    return SimpleNamespace(wait=wait)


def test_a_guest_that_writes_nothing_hangs(guest: Any, disks: crash_dump.Disks) -> None:
    with pytest.raises(GuestSilentError, match="wrote nothing") as raised:
        crash_dump._wait(process(guest, looks=1000, write=lambda: None), guest, disks)
    assert str(guest.log) in raised.value.hint


@pytest.mark.parametrize("place", ["console", "dump", "snapshot"])
def test_any_sign_of_life_is_waited_for(guest: Any, disks: crash_dump.Disks, place: str) -> None:
    def write() -> None:
        if place == "console":
            with guest.log.open("a") as console:
                console.write("x")
        else:
            os.pwrite(getattr(disks, place), b"x", 0)

    begin = time.monotonic()
    assert crash_dump._wait(process(guest, looks=12, write=write), guest, disks) == 0
    # Longer than the silence that is taken for a hang.
    assert time.monotonic() - begin > 0.3
