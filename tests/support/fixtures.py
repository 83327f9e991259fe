"""Fixtures of all tests: the folders in which two users meet, and a program that counts frees."""

import os
import shutil
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
