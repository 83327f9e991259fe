# SPDX-License-Identifier: GPL-2.0-only
"""Writers and merges that are killed, and several at once, as processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from made_snapshots import KEYS, LATER, SOME, T, check_all, filled, same, snapshot
from places import ROOT, SUPPORT

from pageinspect.dataset.compact import compact
from pageinspect.dataset.read import snapshots
from pageinspect.dataset.write import write_snapshot

SET_UP = """
import os, sys, time
from pathlib import Path
from made_snapshots import SOME, snapshot
from pageinspect.dataset.compact import compact
from pageinspect.dataset.write import write_snapshot
from pageinspect.errors import PageInspectError
from pageinspect.host import files

dataset, n = Path(sys.argv[1]), int(sys.argv[2])

def stop_at(name):
    call, left = getattr(os, name), n
    def counted(*args, **options):
        nonlocal left
        left -= 1
        if left < 0:
            print("ready", flush=True)
            time.sleep(600)
        return call(*args, **options)
    setattr(os, name, counted)
"""
NAMED = "files._UNNAMED = os.O_RDWR | os.O_DIRECTORY\n"
"""As on a file system that has no files without a name."""


def started(program: str, *args: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SET_UP + program, *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{SUPPORT}"},
    )


def killed(program: str, *args: object) -> None:
    """Run a program up to the line "ready", and kill it."""
    with started(program, *args) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
        finally:
            process.send_signal(signal.SIGKILL)


def outputs(processes: Sequence["subprocess.Popen[str]"]) -> list[str]:
    return [process.communicate(timeout=120)[0] for process in processes]


@pytest.mark.parametrize("files", ["", NAMED], ids=["unnamed", "named"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_writer_that_is_killed_between_two_tables(tmp_path: Path, n: int, files: str) -> None:
    write_snapshot(tmp_path, snapshot("h", T, SOME))
    name = "rename" if files else "link"
    last = "stop_at('link')\n" if files and n == 2 else ""
    at = 0 if last else n
    stop = last or f"stop_at('{name}')\n"
    killed(f"{files}{stop}write_snapshot(dataset, snapshot('h', '{LATER}', SOME))", tmp_path, at)
    assert [entry.time for entry in snapshots(tmp_path)] == [T]
    wanted = snapshot("h", LATER, ["owners"], rows=2)
    write_snapshot(tmp_path, wanted)
    assert same(tmp_path, wanted)
    # The next merge removes what is left.
    killed(f"{files}stop_at('link')\nwrite_snapshot(dataset, snapshot('z', '{T}', SOME))", tmp_path,
           0 if files else n)  # fmt: skip
    compact(tmp_path)
    assert not [*tmp_path.glob("*/host=*/*/*")]
    assert len([*tmp_path.glob("*/day=*/*")]) == 1 + len(SOME)
    assert same(tmp_path, wanted)


@pytest.mark.parametrize(("call", "n"), [("fsync", 0), ("link", 1), ("link", 4), ("unlink", 3)])
def test_a_merge_that_is_killed(tmp_path: Path, call: str, n: int) -> None:
    filled(tmp_path, SOME)
    killed(f"stop_at('{call}')\ncompact(dataset)", tmp_path, n)
    check_all(tmp_path, KEYS, SOME)
    compact(tmp_path)
    check_all(tmp_path, KEYS, SOME)
    assert not [*tmp_path.glob("*/host=*/*/*")]


def test_of_writers_of_one_host_and_second_one_succeeds(tmp_path: Path) -> None:
    program = f"""
rows = n
try:
    write_snapshot(dataset, snapshot("h", "{T}", rows=n))
except PageInspectError as error:
    assert "already" in error.message, error.message
else:
    print(n)
"""
    (winner,) = filter(None, outputs([started(program, tmp_path, n) for n in range(1, 6)]))
    assert same(tmp_path, snapshot("h", T, rows=int(winner)))


def test_writers_of_many_hosts_beside_merges(tmp_path: Path) -> None:
    write_snapshot(tmp_path, snapshot("0", T, SOME))
    write = """
for i in range(12):
    write_snapshot(dataset, snapshot(f"h{n}", f"20261127T2015{i:02}Z", SOME))
"""
    merge = """
while not (dataset / "stop").exists():
    compact(dataset)
"""
    merging = started(merge, tmp_path, 0)
    writers = [started(write, tmp_path, n) for n in range(3)]
    outputs(writers)
    (tmp_path / "stop").touch()
    outputs([merging])
    assert [process.returncode for process in [merging, *writers]] == [0] * 4
    keys = [("0", T), *((f"h{n}", f"20261127T2015{i:02}Z") for n in range(3) for i in range(12))]
    check_all(tmp_path, keys, SOME)
