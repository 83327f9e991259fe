# SPDX-License-Identifier: GPL-2.0-only
import os
from pathlib import Path
from typing import Any

import pytest

from pageinspect.errors import PageInspectError
from pageinspect.host.files import point, read_trusted
from pageinspect.vm import cache

pytestmark = pytest.mark.usefixtures("built_things")


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
def test_what_is_not_a_file_is_not_taken_for_one_of_another_user(
    built_things: Path, make: Any
) -> None:
    make(built_things / "kernel.json")
    with pytest.raises(PageInspectError, match=r"kernel\.json is not a file") as error:
        read_trusted(built_things / "kernel.json")
    assert error.value.hint == "remove it"


def test_a_link_points_elsewhere_at_once(built_things: Path) -> None:
    for name in ("one", "two"):
        (built_things / name).mkdir()
        point(built_things / "current", name)
        assert (built_things / "current").resolve() == built_things / name


def test_pruning_keeps_the_newest(built_things: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        path = built_things / f"{name}.log"
        path.write_text("")
        os.utime(path, (1000 - age, 1000 - age))
    (built_things / "other").write_text("")
    cache.prune(built_things, "*.log", keep=1)
    assert sorted(path.name for path in built_things.iterdir()) == ["new.log", "other"]


def test_a_folder_that_two_processes_remove_is_gone(
    built_things: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = built_things / "both"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / name).touch()
    unlink = os.unlink

    def of_the_other_too(path: str, *, dir_fd: int | None = None) -> None:
        unlink(path, dir_fd=dir_fd)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", of_the_other_too)
    cache.remove(folder)
    assert not folder.exists()
    (built_things / "kept").mkdir()

    def denied(_path: str, *, dir_fd: int | None = None) -> None:
        raise PermissionError(dir_fd)

    monkeypatch.setattr(os, "rmdir", denied)
    with pytest.raises(PermissionError):
        cache.remove(built_things / "kept")
