# SPDX-License-Identifier: GPL-2.0-only
"""Kdumps of real kernels on a cluster of two worker processes, beside two that are broken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from owned_guest import Owned

from pageinspect.dataset.read import read_snapshot, snapshots
from pageinspect.errors import Exit

# A cluster takes the snapshots of every kernel alike.
pytestmark = pytest.mark.kernels("newest")

pytest.importorskip("distributed")
pytest.importorskip("cryptography")


def snapshot(*words: object) -> tuple[int, list[str], str]:
    done = subprocess.run(
        [sys.executable, "-m", "pageinspect", "snapshot", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_a_dump_and_two_that_are_broken(owned: Owned, tmp_path: Path) -> None:
    data = tmp_path / "data"
    cut, text = tmp_path / "cut", tmp_path / "text"
    with owned.core.open("rb") as file:
        cut.write_bytes(file.read(owned.core.stat().st_size // 4))
    text.write_text("no core\n")
    for path in (cut, text):
        os.utime(path, (1_764_439_274, 1_764_439_274))
    status, lines, err = snapshot(owned.core, cut, text, "-o", data, "--dask", "local:2")
    assert status == Exit.ERROR
    assert len(lines) == 1, err
    assert err.count("pageinspect: error: ") == 2
    rows = {entry.host: entry.time for entry in snapshots(data)}
    assert lines[0].startswith(f"{owned.core}: ")
    host = lines[0].split(": ")[1].split()[0]
    assert set(rows) == {host, "cut", "text"}
    for name in ("cut", "text"):
        error = read_snapshot(data, name, rows[name]).header("error")
        assert error.startswith(str(tmp_path / name))

    # As without a cluster.
    alone = tmp_path / "alone"
    status, _, err = snapshot(owned.core, "-o", alone)
    assert status == Exit.COMPLETE, err
    one, other = (read_snapshot(each, host, rows[host]) for each in (data, alone))
    for table in ("runs", "owners", "processes"):
        assert len(one.tables[table]) == len(other.tables[table])
    assert (one.tables["runs"]["pages"] == other.tables["runs"]["pages"]).all()

    status, lines, _ = snapshot(owned.core, "-o", data, "--dask", "local:2")
    assert (status, lines) == (Exit.COMPLETE, [f"{host} {rows[host]}: already in {data}"])
