"""A core of a small guest damaged in 200 ways, and the forms that are damaged read alike."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

FUZZ = Path(__file__).parents[1] / "fuzz"
PLENTY = "head -c 40000000 /dev/urandom > /tmp/file; sleep 1000 & sleep 1000 &"


@pytest.fixture(scope="module")
def small_core(
    ready: Callable[[str], BuiltKernel], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("core") / "core"
    with Guest(ready("newest"), memory="256M") as guest:
        guest.run(["sh", "-c", PLENTY])
        guest.dump(path)
    yield path
    path.unlink()


def run(program: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, FUZZ / program, *map(str, args)]
    env = os.environ | {"PYTHONPATH": str(FUZZ.parents[1])}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_every_damage_is_taken_well(small_core: Path) -> None:
    done = run("fuzz.py", small_core, "--count", 200, "--seed", 4)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "seed 4: 200 damages, 0 taken badly" in done.stdout


def test_the_forms_that_are_damaged_read_alike(small_core: Path, tmp_path: Path) -> None:
    kdump, flattened = tmp_path / "kdump", tmp_path / "flattened"
    done = run("diskdump.py", small_core, kdump, flattened)
    assert done.returncode == 0, done.stderr
    lists = [
        json.loads(
            subprocess.run(
                [sys.executable, "-m", "pageinspect", "list", "-c", core, "--format", "json"],
                capture_output=True,
                check=True,
            ).stdout
        )
        for core in (small_core, kdump, flattened)
    ]
    assert [bool(listed["kernel"].pop("notes", [])) for listed in lists] == [False, False, True]
    assert lists[0] == lists[1] == lists[2]
    assert len(lists[0]["runs"]) > 20
