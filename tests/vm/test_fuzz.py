# SPDX-License-Identifier: GPL-2.0-only
"""A core of a small guest damaged in 200 ways, and the forms that are damaged read alike."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from guest_dump import dump_idle
from places import ROOT, TESTS

from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

FUZZ = TESTS / "fuzz"
PLENTY = "head -c 40000000 /dev/urandom > /tmp/file; sleep 1000 & sleep 1000 &"


@pytest.fixture(scope="module")
def small_core(
    ready: Callable[[str], BuiltKernel], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("core") / "core"
    with Guest(ready("newest"), memory="256M") as guest:
        guest.run(["sh", "-c", PLENTY])
        dump_idle(guest, path)
    yield path
    path.unlink()


def run(program: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, FUZZ / program, *map(str, args)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
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


@pytest.mark.parametrize(
    ("lie", "command", "message"),
    [
        (
            "same_roots",
            ["summary"],
            "several parts of this kernel's mem_section have the same address",
        ),
        (
            "too_many_sections",
            ["summary"],
            "memory sections, but a core of this size has room for",
        ),
        ("highest_section", ["list"], "claims a memory section number 0x8000000000000000"),
        ("max_pfn", ["export", "--kpageflags", "/dev/null"], "max_pfn is invalid: 0x400000000"),
    ],
)
def test_an_impossible_amount_in_a_header_is_a_one_line_error(
    small_core: Path, tmp_path: Path, lie: str, command: list[str], message: str
) -> None:
    done = lied(small_core, tmp_path, lie, command)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 2


@pytest.mark.parametrize("lie", ["hugetlb_order", "hugetlb_sizes"])
def test_huge_pages_that_cannot_be_leave_the_rest(
    small_core: Path, tmp_path: Path, lie: str
) -> None:
    done = lied(small_core, tmp_path, lie, ["check", "--format", "json"])
    assert done.returncode == 4
    checks = {check["name"]: check for check in json.loads(done.stdout)["counters"]}
    assert [name for name, check in checks.items() if check["verdict"] == "differs"] == ["hugetlb"]
    assert len(checks) > 5


def lied(
    core: Path, folder: Path, lie: str, command: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run a command on a copy of the core that lies."""
    liar = folder / "core"
    told = run("lies.py", core, lie, liar)
    assert told.returncode == 0, told.stderr
    argv = [sys.executable, "-m", "pageinspect", *command, "-c", str(liar)]
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    finally:
        liar.unlink()
