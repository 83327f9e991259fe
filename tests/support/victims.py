# SPDX-License-Identifier: GPL-2.0-only
"""A file of root's that no other user's link may reach, and writing where -o says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pageinspect.cli.output import open_output

ROOTS = "root's own\n"


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of root's, which is what it was when the test ends."""
    path = tmp_path / "victim"
    path.write_text(ROOTS)
    path.chmod(0o600)
    before = path.stat()
    yield path
    assert path.read_text() == ROOTS
    after = path.stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def write(output: Path, text: str = "report") -> None:
    with open_output(output) as stream:
        stream.write(text)
