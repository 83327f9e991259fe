# SPDX-License-Identifier: GPL-2.0-only
"""The units of docs/examples, as systemd understands them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from places import DOCS

UNITS = sorted((DOCS / "examples").glob("*.service"))
PROGRAM = "/usr/bin/pageinspect"


def complaints(service: Path, folder: Path, text: str) -> str:
    """Return what systemd says of a service, with a program that there is, and of its timer."""
    assert PROGRAM in text
    files = [folder / service.name]
    files[0].write_text(text.replace(PROGRAM, "/bin/true"))
    if (timer := service.with_suffix(".timer")).exists():
        files.append(Path(shutil.copy(timer, folder)))
    verify = ["systemd-analyze", "verify", "--man=no"]
    done = subprocess.run([*verify, *files], capture_output=True, text=True, check=False)
    # What it does not know is a warning.
    return done.stderr + f"status {done.returncode}" * bool(done.returncode)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
@pytest.mark.parametrize("service", UNITS, ids=lambda path: path.name)
def test_units_are_what_systemd_knows(service: Path, tmp_path: Path) -> None:
    text = service.read_text()
    assert complaints(service, tmp_path, text) == ""
    assert "Unknown" in complaints(service, tmp_path, text + "ProtectHouse=yes\n")
