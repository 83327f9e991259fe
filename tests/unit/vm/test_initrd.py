# SPDX-License-Identifier: GPL-2.0-only
import os
import tarfile
from pathlib import Path

import pytest

from pageinspect.errors import UsageError
from pageinspect.vm import initrd, source
from pageinspect.vm.catalogue import InitrdRecipe
from pageinspect.vm.custom_kernel import find_modules
from pageinspect.vm.errors import BuildError

_DEP = """\
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio_ring.ko kernel/virtio.ko
kernel/drivers/virtio/virtio_ring.ko: kernel/virtio.ko
kernel/virtio.ko:
kernel/drivers/char/virtio-console.ko.gz: kernel/virtio.ko
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    folder = tmp_path / "usr/lib/modules/6.99"
    (folder / "kernel").mkdir(parents=True)
    (folder / "modules.dep").write_text(_DEP)
    (folder / "modules.builtin").write_text("kernel/fs/overlayfs/overlay.ko\n")
    return folder


def test_a_module_comes_after_what_it_needs_and_once(modules: Path) -> None:
    order = initrd.load_order(modules, InitrdRecipe(("virtio_blk", "virtio_console"), ()))
    assert [path.name for path in order] == [
        "virtio.ko",
        "virtio_ring.ko",
        "virtio_blk.ko.xz",
        "virtio-console.ko.gz",
    ]


def test_built_in_and_merely_wanted_modules_may_be_absent(modules: Path) -> None:
    assert initrd.load_order(modules, InitrdRecipe(("overlay",), ("qemu_fw_cfg",))) == []


def test_a_required_module_in_no_form_names_the_options(modules: Path) -> None:
    with pytest.raises(BuildError, match="squashfs, nope neither") as error:
        initrd.load_order(modules, InitrdRecipe(("squashfs", "overlay", "nope"), ()))
    assert "CONFIG_SQUASHFS, CONFIG_NOPE" in error.value.hint


def test_modules_are_found_by_their_folder_or_its_root(modules: Path, tmp_path: Path) -> None:
    assert find_modules(modules) == find_modules(tmp_path) == modules


def test_modules_that_a_link_leads_to_have_the_name_of_their_release(
    modules: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(modules)
    assert find_modules(tmp_path / "link") == modules
    assert find_modules(modules / "kernel/..") == modules


def test_a_folder_without_modules_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no modules"):
        find_modules(tmp_path)


def test_the_modules_of_two_kernels_are_a_usage_error(modules: Path, tmp_path: Path) -> None:
    (modules.parent / "6.98/kernel").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"6.98, 6.99"):
        find_modules(tmp_path)


def test_the_source_archive_has_what_a_guest_runs() -> None:
    descriptor = source.archive()
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "rb") as file, tarfile.open(fileobj=file) as tar:
        names = set(tar.getnames())
    assert {"pageinspect/__init__.py", "pageinspect/vm/agent.py", "vm-images/init"} <= names
    assert not [name for name in names if "__pycache__" in name or "/." in name]
