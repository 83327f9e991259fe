# SPDX-License-Identifier: GPL-2.0-only
"""A kernel of one's own: root takes it only if nobody else could change it."""

import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from two_users import OTHER, takes_root

from pageinspect.errors import PageInspectError
from pageinspect.vm import custom_kernel, tools

SECRET = b"root's secret"


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What would be packed: the files by name."""
    found: dict[str, bytes] = {}

    def pack(work: Path, release: str, _folder: Path) -> None:
        tree = work / "tree/usr/lib/modules" / release
        found.update({str(p.relative_to(tree)): p.read_bytes() for p in tree.rglob("*.ko")})

    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(custom_kernel, "pack_disk", pack)
    monkeypatch.setattr(tools, "require", lambda _programs: None)
    return found


@pytest.fixture(autouse=True)
def _kernel(place: Path) -> None:
    """Put a kernel there, and its modules."""
    (place / "bzImage").write_bytes(b"kernel")
    folder = place / "lib/modules/6.99"
    (folder / "kernel/block").mkdir(parents=True)
    (folder / "kernel/virtio.ko").write_bytes(b"virtio")
    (folder / "build").symlink_to("/usr/src")


def take(place: Path) -> None:
    custom_kernel.custom_kernel(place / "bzImage", place)


def test_a_link_within_the_modules_is_kept_and_build_left_out(
    place: Path, packed: dict[str, bytes]
) -> None:
    (place / "lib/modules/6.99/kernel/block/other.ko").symlink_to("../virtio.ko")
    take(place)
    assert packed == {"kernel/virtio.ko": b"virtio", "kernel/block/other.ko": b"virtio"}


@pytest.mark.parametrize("target", ["SECRET", "../../../../../secret", "up/../../../../../secret"])
def test_a_link_out_of_the_modules_is_refused(
    place: Path, tmp_path: Path, packed: dict[str, bytes], target: str
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (place / "secret").write_bytes(SECRET)
    kernel = place / "lib/modules/6.99/kernel"
    (kernel / "up").symlink_to("block")
    (kernel / "virtio_blk.ko").symlink_to(target.replace("SECRET", str(tmp_path / "secret")))
    with pytest.raises(
        PageInspectError, match=r"virtio_blk\.ko is a link that leads out"
    ) as caught:
        take(place)
    assert caught.value.hint
    assert not packed


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("make", [fifo, listen])
def test_what_is_neither_a_file_nor_a_folder_is_named(
    place: Path, packed: dict[str, bytes], make: Any
) -> None:
    strange = place / "lib/modules/6.99/kernel/strange"
    make(strange)
    with pytest.raises(PageInspectError, match=f"{strange} is neither a file nor a folder"):
        take(place)
    assert not packed


@takes_root
@pytest.mark.parametrize(
    "of_them",
    ["bzImage", "lib/modules/6.99", "lib/modules/6.99/kernel", "lib/modules/6.99/kernel/virtio.ko"],
)
@pytest.mark.parametrize("how", ["owner", "mode"])
def test_root_takes_no_kernel_that_another_user_can_change(
    place: Path, packed: dict[str, bytes], of_them: str, how: str
) -> None:
    path = place / of_them
    if how == "owner":
        os.chown(path, OTHER, OTHER)
    else:
        path.chmod(path.stat().st_mode | 0o022)
    with pytest.raises(PageInspectError, match=f"{path} can be changed by another user") as caught:
        take(place)
    assert "copy" in caught.value.hint
    assert not packed


def link_of_theirs(link: Path, target: Path) -> None:
    link.symlink_to(target)
    os.lchown(link, OTHER, OTHER)


@takes_root
def test_a_link_of_another_user_shows_no_file_of_roots(
    place: Path, tmp_path: Path, packed: dict[str, bytes]
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    kernel = place / "lib/modules/6.99/kernel"
    os.chown(kernel, OTHER, OTHER)
    link_of_theirs(kernel / "virtio_blk.ko", secret)
    with pytest.raises(PageInspectError, match="by another user"):
        take(place)
    shutil.rmtree(place / "lib/modules")
    os.chown(place / "lib", OTHER, OTHER)
    (tmp_path / "roots/kernel").mkdir(parents=True)
    (place / "lib/modules").mkdir()
    os.chown(place / "lib/modules", OTHER, OTHER)
    link_of_theirs(place / "lib/modules/6.99", tmp_path / "roots")
    with pytest.raises(PageInspectError, match="link that another user made"):
        take(place)
    assert not packed
