# SPDX-License-Identifier: GPL-2.0-only
"""Root, beside a user who prepares links and folders: cores, the cache, guests, modes."""

import contextlib
import json
import os
import socket
import stat
from argparse import Namespace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from drgn import Program
from two_users import OTHER, as_other, plant, takes_root
from victims import victim

from pageinspect.cli.commands import vm_dump
from pageinspect.cli.intervals import open_stream
from pageinspect.cli.options import save_symbol_caches
from pageinspect.cli.output import open_output
from pageinspect.errors import PageInspectError
from pageinspect.host.files import is_trusted
from pageinspect.model.provenance import Provenance
from pageinspect.target.open import Target
from pageinspect.target.symbols.cache import SymbolCache, load_cache
from pageinspect.vm import cache, crash_dump, proc_snapshot, qemu, tools
from pageinspect.vm.core_file import folder_of_kdump
from pageinspect.vm.debian import Archive
from pageinspect.vm.guest import Guest

__all__ = ["victim"]

pytestmark = takes_root


# Cores.


def fake_guest() -> Any:
    """A guest whose QEMU writes to where it is told."""
    passed: dict[str, int] = {}

    def qmp(_command: str, *, protocol: str, **_arguments: object) -> None:
        kind, _, where = protocol.partition(":")
        with open(os.dup(passed[where]) if kind == "fd" else where, "wb") as out:  # noqa: PTH123
            out.write(b"memory")

    def execute(_command: str, names: dict[str, str], *, descriptor: int) -> None:
        passed[names["fdname"]] = descriptor

    monitor = SimpleNamespace(execute=execute)
    return SimpleNamespace(pause=lambda: None, qmp=qmp, _monitor=monitor)


def test_a_dump_is_not_written_through_a_link(theirs: Path, victim: Path) -> None:
    plant(theirs / f".core.{os.getpid()}.part", victim)
    plant(theirs / "core", victim)
    with pytest.raises(PageInspectError, match="link that another user made"):
        Guest.dump(fake_guest(), theirs / "core")
    (theirs / "core").unlink()
    Guest.dump(fake_guest(), theirs / "core")
    assert (theirs / "core").read_bytes() == b"memory"
    assert not (theirs / "core").is_symlink()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_a_core_takes_the_place_of_files_alone(tmp_path: Path, make: Any) -> None:
    # As /dev/null would be one.
    make(tmp_path / "core")
    with pytest.raises(PageInspectError, match="not a regular file"):
        Guest.dump(fake_guest(), tmp_path / "core")
    assert not (tmp_path / "core").is_file()


def crash(core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **mode: int) -> Path:
    """Make a kdump of what a guest is said to have left on its disks."""
    for name in ("_load", "_panic"):
        monkeypatch.setattr(crash_dump, name, lambda *_: None)
    monkeypatch.setattr(crash_dump, "rearrange", lambda dump, out: out.write(dump.read()))
    index = {name: [4096, 5] for name in proc_snapshot.NAMES}
    disk = tmp_path / "symbols"
    disk.write_bytes(json.dumps(index).encode().ljust(4096) + b"again")
    (tmp_path / "dump").write_bytes(b"memory")
    guest: Any = SimpleNamespace(log=tmp_path / "log", memory=1 << 30)
    with disk.open("rb") as said, (tmp_path / "dump").open("rb") as dump:
        disks = crash_dump.Disks(dump.fileno(), said.fileno())
        return crash_dump.crash(guest, disks, core, **mode)


def test_the_folder_beside_a_kdump_is_no_link_and_has_none(
    theirs: Path, shared: Path, victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    plant(shared / "core.kernel", elsewhere)
    with pytest.raises(PageInspectError, match="is not a folder"):
        crash(shared / "core", tmp_path, monkeypatch)
    assert not list(elsewhere.iterdir())
    as_other((theirs / "core.kernel").mkdir)
    plant(theirs / "core.kernel/meminfo", victim)
    with pytest.raises(PageInspectError, match="another user can change"):
        crash(theirs / "core", tmp_path, monkeypatch)
    ours = tmp_path / "core.kernel"
    ours.mkdir()
    (ours / "meminfo").symlink_to(victim)
    assert crash(tmp_path / "core", tmp_path, monkeypatch) == ours
    assert {path.name for path in ours.iterdir()} == set(proc_snapshot.NAMES)
    assert not (ours / "meminfo").is_symlink()


def test_the_folder_beside_a_kdump_is_looked_at_before_a_guest_boots(
    theirs: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boot(*_: object) -> None:
        raise AssertionError("it boots")

    def dump(core: Path) -> None:
        vm_dump.run(Namespace(output=core, kdump="lzo", memory=1 << 30, dump_level=None))

    monkeypatch.setattr(vm_dump, "in_guest", boot)
    plant(shared / "core.kernel", tmp_path)
    with pytest.raises(PageInspectError, match="is not a folder"):
        dump(shared / "core")
    as_other((theirs / "core.kernel").mkdir)
    with pytest.raises(PageInspectError, match="another user can change"):
        dump(theirs / "core")
    with pytest.raises(AssertionError, match="it boots"):
        dump(tmp_path / "core")
    assert not list(tmp_path.iterdir())


def test_a_kdump_is_where_its_link_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("links", "data"):
        (tmp_path / name).mkdir()
    core = tmp_path / "links/link"
    core.symlink_to("../data/real")
    assert folder_of_kdump(core) == tmp_path / "data"
    folder = crash(core, tmp_path, monkeypatch)
    assert folder == tmp_path / "data/real.kernel"
    assert {path.name for path in folder.iterdir()} == set(proc_snapshot.NAMES)
    assert [path.name for path in core.parent.iterdir()] == ["link"]


# The cache.


@pytest.fixture
def home(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = place / "cache"
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(path))
    return path


def test_a_lock_is_not_a_link(home: Path, victim: Path) -> None:
    things = cache.folder("things")
    (things / ".thing.lock").symlink_to(victim)
    os.chown(things / ".thing.lock", OTHER, OTHER, follow_symlinks=False)
    with pytest.raises(PageInspectError, match="is a link"), cache.locked(things / "thing"):
        pass


def give(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.chown(folder, OTHER, OTHER)


def widen(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)


def stick(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o1777)


@pytest.mark.parametrize("loosen", [give, widen, stick])
def test_a_cache_that_another_user_can_change_is_not_used(
    home: Path, loosen: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    loosen(home / "symbols")
    with pytest.raises(PageInspectError, match="is not used") as caught:
        cache.folder("symbols")
    assert "PAGEINSPECT_CACHE" in caught.value.hint
    assert str(home / "symbols") in caught.value.message.partition("is not used")[2]
    assert loosen is give or f"chmod go-w {home / 'symbols'}," in caught.value.hint
    (home / "symbols/build-0.1.0-1.json").write_text("{}")
    kept = load_cache("build")
    kept.add(kept.types, "4 page", [7])
    target = Target(Program(), Provenance("6.12", "core", "btf"), {}, (kept, kept))
    with contextlib.ExitStack() as ends:
        ends.push(partial(save_symbol_caches, target, None))
    assert [path.name for path in (home / "symbols").iterdir()] == ["build-0.1.0-1.json"]
    said = capsys.readouterr().err
    assert said.startswith("pageinspect: ")
    assert said.count("\n") == said.count("is not used") == 1
    assert "PAGEINSPECT_CACHE" in said


@pytest.mark.parametrize("above", [0, 1])
def test_a_cache_below_the_folder_of_another_user_is_not_used(
    theirs: Path, monkeypatch: pytest.MonkeyPatch, above: int
) -> None:
    home = theirs / "cache"
    if above:
        home.mkdir()
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(home))
    with pytest.raises(PageInspectError, match="belongs to another user"):
        cache.folder("things")
    assert load_cache("build").refused
    assert not list(theirs.glob("cache/*"))


def test_a_cache_in_a_sticky_folder_is_used_if_it_is_ones_own(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(shared / "ours"))
    assert cache.folder("things") == shared / "ours/things"
    as_other((shared / "theirs").mkdir)
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(shared / "theirs"))
    with pytest.raises(PageInspectError, match="belongs to another user"):
        cache.folder("things")


def test_a_cache_as_a_link_delete_nothing(home: Path, tmp_path: Path) -> None:
    give(home)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for number in range(70):
        (elsewhere / f"{number}.json").write_text("{}")
    plant(home / "symbols", elsewhere)
    kept = load_cache("build")
    kept.add(kept.types, "4 page", [7])
    kept.save()
    assert len(list(elsewhere.iterdir())) == 70


def test_a_user_other_than_root_has_a_cache_too(
    theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(theirs / "home/cache"))

    def use() -> None:
        kept = load_cache("build")
        kept.add(kept.types, "4 page", [7])
        kept.save()
        assert load_cache("build").types == {"4 page": [7]}
        with cache.locked(cache.folder("things") / "thing"):
            pass

    as_other(use)
    (written,) = (theirs / "home/cache/symbols").iterdir()
    assert written.stat().st_uid == OTHER


def test_the_link_of_root_to_a_cache_is_followed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "cache").symlink_to(tmp_path)
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(place / "cache"))
    kept = load_cache("build")
    kept.add(kept.types, "4 page", [7])
    kept.save()
    assert load_cache("build").types == {"4 page": [7]}
    (written,) = (tmp_path / "symbols").iterdir()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_apt_runs_with_no_files_that_another_user_can_change(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(home)
    ran: list[object] = []
    monkeypatch.setattr(tools, "require", lambda _programs: None)
    monkeypatch.setattr(tools, "run", lambda argv, **_: ran.append(argv) or "")
    monkeypatch.setenv("PAGEINSPECT_DEBIAN_MIRROR", "http://mirror.invalid/debian")
    with pytest.raises(PageInspectError, match="belongs to another user"):
        Archive("trixie")
    assert not ran
    assert not list(home.iterdir())


# Cores and guests of others.


def test_nothing_is_kept_of_a_core_that_another_user_may_change(home: Path, shared: Path) -> None:
    core = shared / "core"
    core.write_text("")

    def kept(mode: int, owner: int) -> dict[str, list[int]]:
        core.chmod(mode)
        os.chown(core, owner, owner)
        saved: SymbolCache = load_cache(f"{owner}{mode}")
        saved.add(saved.types, "4 page", [7])
        target = Target(Program(), Provenance("6.12", "core", "btf"), {}, (saved,))
        with contextlib.ExitStack() as ends:
            ends.push(partial(save_symbol_caches, target, core))
        return load_cache(f"{owner}{mode}").types

    assert kept(0o644, 0)
    assert not kept(0o666, 0)
    assert not kept(0o660, 0)
    assert not kept(0o600, OTHER)


def test_nothing_is_kept_of_a_core_that_another_user_may_replace(
    theirs: Path, shared: Path, tmp_path: Path
) -> None:
    for folder in (theirs, shared, tmp_path):
        (folder / "core").touch()
    plant(theirs / "link", tmp_path / "core")
    assert not is_trusted(theirs / "core")
    assert not is_trusted(theirs / "link")
    assert is_trusted(shared / "core")
    assert is_trusted(tmp_path / "core")


def test_a_socket_is_not_removed_through_the_link_of_another_user(
    shared: Path, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    plant(shared / "folder", tmp_path)
    with pytest.raises(PageInspectError, match="link that another user made"):
        qemu.clear_socket(shared / "folder/socket")
    assert (tmp_path / "socket").is_socket()


# Modes.


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("mode", [None, 0o640])
def test_modes_of_all_that_is_written(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, umask: int, mode: int | None
) -> None:
    before = os.umask(umask)
    try:
        out = tmp_path / "out"
        out.mkdir()
        with (
            open_output(out / "report", mode=mode) as text,
            open_output(out / "flags", binary=True, mode=mode) as flags,
        ):
            text.write("report")
            flags.write(b"flags")
        growing = SimpleNamespace(output=out / "growing", interval=1, events=False, mode=mode)
        with open_stream(growing) as stream:
            stream.write("text")
        Guest.dump(fake_guest(), out / "elf", mode=mode)
        folder = crash(out / "kdump", tmp_path, monkeypatch, **({"mode": mode} if mode else {}))
        kept = load_cache("build")
        kept.add(kept.types, "4 page", [7])
        kept.save()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()}
    usual = mode or 0o666 & ~umask
    assert modes == {
        "report": usual,
        "flags": usual,
        "growing": usual,
        "elf": mode or 0o600,
        "kdump": mode or 0o600,
        "kdump.kernel": 0o755 & ~umask,
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {usual}
    (written,) = (home / "symbols").iterdir()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
