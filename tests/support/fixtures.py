"""Fixtures of all tests: no enumeration may meet numpy; the folders in which two users meet."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from enum import EnumType
from pathlib import Path

import pytest
from fake_program import FakeProgram


@pytest.fixture(autouse=True)
def met_numpy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fail a test in which numpy asks an enumeration whether it is an array: see Reading."""
    met: list[str] = []
    look_up = getattr(EnumType, "__getattr__", None)

    def asked(enumeration: EnumType, name: str) -> object:
        if name.startswith("__array"):
            met.append(f"{enumeration.__name__}.{name}")
        # Python 3.12's enumerations have none.
        if look_up is None:
            raise AttributeError(name)
        return look_up(enumeration, name)

    monkeypatch.setattr(EnumType, "__getattr__", asked, raising=False)
    yield met
    assert not met, "an IntEnum was compared with an array, or filled one"


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
