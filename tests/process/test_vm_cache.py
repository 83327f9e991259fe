# SPDX-License-Identifier: GPL-2.0-only
"""Builds of several processes at once, and what a killed one leaves."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cache_builds import build_until, slow_build

from pageinspect.host.files import point, read_trusted, write_trusted
from pageinspect.vm import cache

_SPAWN = multiprocessing.get_context("spawn")


def test_two_builds_at_once_do_the_work_once(built_things: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    builders = [
        _SPAWN.Process(target=slow_build, args=(built_things / "thing", log)) for _ in range(3)
    ]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
    assert [builder.exitcode for builder in builders] == [0, 0, 0]
    assert log.read_text().split() == [(built_things / "thing").read_text()]


_KILLED = """
import os, signal, sys
from pathlib import Path
from pageinspect.vm import cache

def build(work):
    (work / "half").write_text("half")
    os.kill(os.getpid(), int(sys.argv[2]))

cache.build_once(Path(sys.argv[1]), build)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_build_leaves_nothing(built_things: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", _KILLED, str(built_things / "thing"), str(int(number))]
    assert subprocess.run(command, check=False).returncode == -number
    # Who waits for the lock waits until it is removed.
    with cache.locked(built_things / "thing"):
        assert [path.name for path in built_things.iterdir()] == [".thing.lock"]


@pytest.mark.parametrize("next_one", ["thing", "another"])
def test_what_a_power_cut_left_is_removed_by_the_next_build(
    built_things: Path, next_one: str
) -> None:
    (built_things / ".thing.building").mkdir()
    (built_things / ".thing.building/half").write_text("half")
    slow_build(built_things / next_one, built_things / "log")
    assert not (built_things / ".thing.building").exists()


def test_waiting_for_another_build_is_reported(built_things: Path, tmp_path: Path) -> None:
    waited = tmp_path / "waited"
    builder = _SPAWN.Process(
        target=build_until, args=(built_things / "thing", tmp_path / "log", waited)
    )
    builder.start()
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    said: list[str] = []

    def say(what: str) -> None:
        said.append(what)
        waited.touch()

    with cache.locked(built_things / "thing", say):
        assert (built_things / "thing").exists()
    builder.join(60)
    assert said == ["waiting for another process that builds thing"]


def test_a_second_build_is_no_build(built_things: Path, tmp_path: Path) -> None:
    slow_build(built_things / "thing", tmp_path / "log")
    slow_build(built_things / "thing", tmp_path / "log")
    assert len((tmp_path / "log").read_text().split()) == 1


def test_a_failed_build_leaves_nothing(built_things: Path) -> None:
    def build(work: Path) -> Path:
        (work / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.build_once(built_things / "thing", build)
    assert [path.name for path in built_things.iterdir()] == [".thing.lock"]


def test_the_work_of_a_build_that_goes_on_is_left_alone(built_things: Path) -> None:
    (built_things / ".thing.building").mkdir()
    with cache.locked(built_things / "thing"):
        slow_build(built_things / "another", built_things / "log")
        assert (built_things / ".thing.building").exists()


def test_a_folder_is_built_like_a_file(built_things: Path) -> None:
    def build(work: Path) -> Path:
        (work / "tree/sub").mkdir(parents=True)
        (work / "tree/sub/file").write_text("x")
        return work / "tree"

    assert (cache.build_once(built_things / "thing", build) / "sub/file").read_text() == "x"


def test_what_is_built_is_read_again_whatever_the_umask_is(built_things: Path) -> None:
    def build(work: Path) -> Path:
        (work / "tree").mkdir(cache.FOLDER_MODE)
        write_trusted(work / "tree/file", "x")
        return work / "tree"

    before = os.umask(0)
    try:
        folder = cache.folder("more")
        with cache.locked(folder / "other"):
            built = cache.build_once(folder / "thing", build)
        with cache.locked(folder / "other"):
            point(folder / "current", "thing")
        assert read_trusted(folder / "current/file") == read_trusted(built / "file") == "x"
    finally:
        os.umask(before)
