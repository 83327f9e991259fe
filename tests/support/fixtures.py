# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures of all tests: the folders in which two users meet, and a program that counts frees."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_program import FakeProgram


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that both users can enter."""
    path = Path(tempfile.mkdtemp(prefix="pageinspect-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def shared(place: Path) -> Path:
    """A folder that both users can write, like /tmp."""
    path = place / "shared"
    path.mkdir()
    path.chmod(0o1777)
    return path


@pytest.fixture
def theirs(place: Path) -> Path:
    """A folder of the other user."""
    from two_users import OTHER

    path = place / "theirs"
    path.mkdir()
    os.chown(path, OTHER, OTHER)
    return path


@pytest.fixture
def program() -> FakeProgram:
    return FakeProgram()


@pytest.fixture
def handlers_stay() -> Iterator[None]:
    """Fail a test that leaves another handler of a signal than it found."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.fixture
def built_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a cache of the test's own."""
    from pageinspect.vm import cache

    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path / "cache"))
    return cache.folder("things")


@pytest.fixture
def folder(place: Path) -> Path:
    """A folder in which the other user may make a socket; its path is short enough for one."""
    place.chmod(0o777)
    return place


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
