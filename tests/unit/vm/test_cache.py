import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pageinspect.errors import PageInspectError
from pageinspect.host.files import point, read_trusted, write_trusted
from pageinspect.vm import cache

_SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path / "cache"))
    return cache.folder("things")


def _slow_build(target: Path, log: Path) -> None:
    """Build, saying so; in a process of its own."""

    def build(work: Path) -> Path:
        with log.open("a") as lines:
            lines.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        (work / "result").write_text(str(os.getpid()))
        return work / "result"

    cache.build_once(target, build)
    assert target.read_text()


def _build_until(target: Path, log: Path, done: Path) -> None:
    """Build until there is a file; in a process of its own."""

    def build(work: Path) -> Path:
        log.touch()
        end = time.monotonic() + 60
        while not done.exists() and time.monotonic() < end:
            time.sleep(0.01)
        (work / "result").touch()
        return work / "result"

    cache.build_once(target, build)


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAGEINSPECT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder("a", "b") == tmp_path / "xdg/pageinspect/a/b"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache/pageinspect"


def test_a_cache_that_cannot_be_made_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path / "file"))
    with pytest.raises(PageInspectError) as error:
        cache.folder()
    assert "PAGEINSPECT_CACHE" in error.value.hint


def test_a_cache_below_a_folder_that_was_removed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setenv("PAGEINSPECT_CACHE", "cache")
    with pytest.raises(PageInspectError, match="cannot make the cache folder cache") as error:
        cache.folder()
    assert "PAGEINSPECT_CACHE" in error.value.hint


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_not_a_file_is_not_taken_for_one_of_another_user(home: Path, make: Any) -> None:
    make(home / "kernel.json")
    with pytest.raises(PageInspectError, match=r"kernel\.json is not a file") as error:
        read_trusted(home / "kernel.json")
    assert error.value.hint == "remove it"


def test_two_builds_at_once_do_the_work_once(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    builders = [_SPAWN.Process(target=_slow_build, args=(home / "thing", log)) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
    assert [builder.exitcode for builder in builders] == [0, 0, 0]
    assert log.read_text().split() == [(home / "thing").read_text()]


def test_a_second_build_is_no_build(home: Path, tmp_path: Path) -> None:
    _slow_build(home / "thing", tmp_path / "log")
    _slow_build(home / "thing", tmp_path / "log")
    assert len((tmp_path / "log").read_text().split()) == 1


def test_a_failed_build_leaves_nothing(home: Path) -> None:
    def build(work: Path) -> Path:
        (work / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.build_once(home / "thing", build)
    assert [path.name for path in home.iterdir()] == [".thing.lock"]


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
def test_a_killed_build_leaves_nothing(home: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", _KILLED, str(home / "thing"), str(int(number))]
    assert subprocess.run(command, check=False).returncode == -number
    # Who waits for the lock waits until it is removed.
    with cache.locked(home / "thing"):
        assert [path.name for path in home.iterdir()] == [".thing.lock"]


@pytest.mark.parametrize("next_one", ["thing", "another"])
def test_what_a_power_cut_left_is_removed_by_the_next_build(home: Path, next_one: str) -> None:
    (home / ".thing.building").mkdir()
    (home / ".thing.building/half").write_text("half")
    _slow_build(home / next_one, home / "log")
    assert not (home / ".thing.building").exists()


def test_the_work_of_a_build_that_goes_on_is_left_alone(home: Path) -> None:
    (home / ".thing.building").mkdir()
    with cache.locked(home / "thing"):
        _slow_build(home / "another", home / "log")
        assert (home / ".thing.building").exists()


def test_who_waits_says_so(home: Path, tmp_path: Path) -> None:
    waited = tmp_path / "waited"
    builder = _SPAWN.Process(target=_build_until, args=(home / "thing", tmp_path / "log", waited))
    builder.start()
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    said: list[str] = []

    def say(what: str) -> None:
        said.append(what)
        waited.touch()

    with cache.locked(home / "thing", say):
        assert (home / "thing").exists()
    builder.join(60)
    assert said == ["waiting for another process that builds thing"]


def test_a_folder_is_built_like_a_file(home: Path) -> None:
    def build(work: Path) -> Path:
        (work / "tree/sub").mkdir(parents=True)
        (work / "tree/sub/file").write_text("x")
        return work / "tree"

    assert (cache.build_once(home / "thing", build) / "sub/file").read_text() == "x"


def test_what_is_built_is_read_again_whatever_the_umask_is(home: Path) -> None:
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


def test_a_link_points_elsewhere_at_once(home: Path) -> None:
    for name in ("one", "two"):
        (home / name).mkdir()
        point(home / "current", name)
        assert (home / "current").resolve() == home / name


def test_pruning_keeps_the_newest(home: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        path = home / f"{name}.log"
        path.write_text("")
        os.utime(path, (1000 - age, 1000 - age))
    (home / "other").write_text("")
    cache.prune(home, "*.log", keep=1)
    assert sorted(path.name for path in home.iterdir()) == ["new.log", "other"]
