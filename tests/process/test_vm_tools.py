# SPDX-License-Identifier: GPL-2.0-only
"""How the host's programs are run: input, output, failures and their end."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pageinspect.vm import tools
from pageinspect.vm.errors import BuildError


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for one of the host's programs; write a shell script into it."""
    path = tmp_path / "cpio"
    path.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return path


def test_a_failed_change_of_mount_propagation_has_its_own_hint(program: Path) -> None:
    said = "unshare: cannot change root filesystem propagation: Invalid argument"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2; exit 1\n")
    with pytest.raises(BuildError, match="cannot change root") as error:
        tools.run(["cpio"], why="cannot build", hint="check the network")
    assert "mount --bind ROOT ROOT" in error.value.hint


def test_a_program_gets_its_input_and_gives_its_output(program: Path, tmp_path: Path) -> None:
    program.write_text('#!/bin/sh\necho "$1"; cat\n')
    (tmp_path / "input").write_text("from a file")
    assert tools.run(["cpio", "x y"], why="-", hint="-", stdin=b"bytes") == "x y\nbytes"
    assert tools.run(["cpio", "x"], why="-", hint="-", stdin=tmp_path / "input").endswith("file")
    assert tools.run(["cpio", "x"], why="-", hint="-") == "x\n"


def test_a_failure_says_why_with_the_last_lines(program: Path) -> None:
    program.write_text("#!/bin/sh\nseq 20 >&2; exit 2\n")
    with pytest.raises(BuildError) as error:
        tools.run(["cpio"], why="cannot pack", hint="do this")
    assert error.value.message == "cannot pack: cpio failed: 16; 17; 18; 19; 20"
    assert error.value.hint == "do this"


# Inside its own pid namespace $$ is another number than outside.
_SAY_PID = "read -r pid rest < /proc/self/stat; echo $pid >"


@pytest.mark.parametrize(
    ("contained", "script"),
    [
        (False, f"{_SAY_PID} %s/pid; exec sleep 1000"),
        (True, f"trap '' TERM; ({_SAY_PID} %s/pid; sleep 1000; sleep 1000) & wait"),
    ],
)
def test_a_program_ends_with_who_started_it(
    program: Path, tmp_path: Path, contained: bool, script: str
) -> None:
    if contained and os.geteuid() != 0:
        pytest.skip("only root can contain a program")
    program.write_text(f"#!/bin/bash\n{script % tmp_path}\n")
    code = "from pageinspect.vm import tools\n"
    code += f"tools.run(['cpio'], why='-', hint='-', contained={contained})"
    with subprocess.Popen([sys.executable, "-c", code]) as starter:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        starter.kill()
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    end = time.monotonic() + 20
    while stat.exists() and ") Z" not in stat.read_text() and time.monotonic() < end:
        time.sleep(0.01)
    assert not stat.exists() or ") Z" in stat.read_text()
