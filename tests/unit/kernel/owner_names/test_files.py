# SPDX-License-Identifier: GPL-2.0-only
"""Files and their paths, in memory made by hand."""

import pytest
from drgn import offsetof
from file_builder import INTERNAL, TMPFS_MAGIC, Files
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.owner_names.files import FileNames
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.owner_names import FileName

BEYOND = BASE + (1 << 30)


@pytest.fixture(params=[False, True], ids=["mounts-in-a-chain", "mounts-in-a-list"])
def files(request: pytest.FixtureRequest) -> Files:
    return Files(Kernel(), mount_lists=request.param)


def name(files: Files, mapping: int) -> FileName:
    (found,) = FileNames(files.kernel.prog).names([mapping])
    return found


def unreadable(files: Files, mapping: int) -> FileName:
    reader = FileNames(files.kernel.prog)
    (found,) = reader.names([mapping])
    assert reader.unreadable == 1
    assert (found.path, found.form) == ("unreadable", "unreadable")
    return found


def test_a_path_crosses_mounts(files: Files) -> None:
    rootfs, disk, data = (files.file_system("ext4", device) for device in ("vda", "vdb", "vdc"))
    first = files.mount(rootfs, files.root(rootfs))
    second = files.mount(disk, files.root(disk), first, files.root(rootfs))
    on = files.directory(files.root(disk), "srv", "data")
    files.mount(data, files.root(data), second, on)
    mapping = files.file(data, 77)
    long = "a-name-that-does-not-fit-into-the-dentry"
    files.name(mapping, long, files.directory(files.root(data), "b\x1b"))
    found = name(files, mapping)
    assert found == FileName(f"/srv/data/b\x1b/{long}", "ext4", "vdc", 77, "path", shmem=False)


def test_files_of_one_directory_and_the_directory(files: Files) -> None:
    sb = files.file_system("ext4", "vda")
    files.mount(sb, files.root(sb))
    top = files.file(sb, 2)
    files.kernel.set(files.dentry_type, files.root(sb), "d_inode", files.kernel.prog.read_u64(top))
    directory = files.file(sb, 3)
    inside = files.name(directory, "etc", files.root(sb))
    mappings = [files.file(sb, 10 + i) for i in range(3)]
    for i, mapping in enumerate(mappings):
        files.name(mapping, f"f{i}", inside)
    reader = FileNames(files.kernel.prog)
    paths = [found.path for found in reader.names([*mappings, directory])]
    assert paths == ["/etc/f0", "/etc/f1", "/etc/f2", "/etc"]
    assert reader.unreadable == 0


def test_the_mount_that_users_see_first(files: Files) -> None:
    sb, other = files.file_system("ext4", "vda"), files.file_system("tmpfs", "tmpfs", TMPFS_MAGIC)
    top = files.mount(other, files.root(other))
    here, there = (files.directory(files.root(other), each) for each in ("here", "there"))
    inner = files.directory(files.root(sb), "inner")
    files.mount(sb, files.root(sb), namespace=INTERNAL)
    files.mount(sb, files.root(sb), namespace=0)
    files.mount(sb, files.root(sb), top, here, namespace=files.other_namespace)
    mapping = files.file(sb, 5)
    files.name(mapping, "f", inner)
    assert name(files, mapping).path == "/here/inner/f"
    files.mount(sb, inner, top, there)
    assert name(files, mapping).path == "/there/f"
    files.mount(sb, files.root(sb), top, files.directory(files.root(other), "whole"))
    files.mount(sb, files.root(sb), top, files.directory(files.root(other), "later"))
    assert name(files, mapping).path == "/whole/inner/f"


def test_a_file_system_that_no_namespace_shows(files: Files) -> None:
    sb = files.file_system("ext4", "vda")
    files.mount(sb, files.root(sb), namespace=INTERNAL)
    mapping = files.file(sb, 5)
    files.name(mapping, "f", files.directory(files.root(sb), "d"))
    found = name(files, mapping)
    assert (found.path, found.form) == ("/d/f", "unmounted")


def test_a_deleted_file_has_the_name_that_is_left(files: Files) -> None:
    sb = files.file_system("ext4", "vda")
    files.mount(sb, files.root(sb))
    mapping = files.file(sb, 5)
    files.name(mapping, "old", files.root(sb), hashed=False)
    found = name(files, mapping)
    assert (found.path, found.form) == ("/old (deleted)", "deleted")
    files.name(mapping, "new", files.root(sb))
    files.name(mapping, "gone", files.root(sb), hashed=False)
    found = name(files, mapping)
    assert (found.path, found.form) == ("/new", "path")


def test_a_file_without_a_name(files: Files) -> None:
    sb = files.file_system("btrfs", "vda")
    mapping = files.file(sb, 1)
    found = name(files, mapping)
    assert (found.path, found.form) == ("inode 1 of btrfs on vda", "inode")
    # A file that was opened by its number.
    files.name(mapping, "/")
    assert name(files, mapping).form == "inode"


@pytest.mark.parametrize(
    ("dentry", "path", "form"),
    [
        ("memfd:a/b", "memfd:a/b", "memfd"),
        ("SYSV0000cafe", "SYSV id 9 key 0x0000cafe", "sysv"),
        ("dev/zero", "/dev/zero (shared anonymous)", "anonymous"),
        ("drm mm object", "drm mm object", "pseudo"),
    ],
)
def test_files_of_the_kernel_own(files: Files, dentry: str, path: str, form: str) -> None:
    sb = files.file_system("tmpfs", "tmpfs", TMPFS_MAGIC)
    mapping = files.file(sb, 9)
    files.name(mapping, dentry, hashed=False)
    assert name(files, mapping) == FileName(path, "tmpfs", "tmpfs", 9, form, shmem=True)  # type: ignore[arg-type]


def test_an_inode_that_files_of_several_names_share(files: Files) -> None:
    sb = files.file_system("anon_inodefs", "anon_inodefs")
    mapping = files.file(sb, 9)
    files.name(mapping, "[perf_event]", hashed=False)
    files.name(mapping, "[perf_event]", hashed=False)
    assert name(files, mapping).path == "[perf_event]"
    files.name(mapping, "bpf-prog", hashed=False)
    assert (name(files, mapping).path, name(files, mapping).form) == ("anon_inodefs", "pseudo")


def test_a_user_file_with_the_name_of_a_memfd(files: Files) -> None:
    sb = files.file_system("tmpfs", "tmpfs", TMPFS_MAGIC)
    files.mount(sb, files.root(sb))
    mapping = files.file(sb, 9)
    files.name(mapping, "memfd:x", files.root(sb))
    assert (name(files, mapping).path, name(files, mapping).form) == ("/memfd:x", "path")


def test_a_block_device(files: Files) -> None:
    k = files.kernel
    kobject = k.struct("kobject", name=k.void_p)
    device = k.struct("device", kobj=kobject)
    bdev = k.struct("block_device", bd_start_sect=k.ulong, bd_device=device)
    both = k.struct("bdev_inode", bdev=bdev, vfs_inode=files.inode_type)
    sb = files.file_system("bdev", "bdev")
    address = k.make(both, bdev__bd_device__kobj__name=k.text("vda1"), vfs_inode__i_sb=sb)
    mapping = k.make(files.mapping_type, host=address + offsetof(both, "vfs_inode"))
    assert name(files, mapping).path == "block device vda1"
    assert name(files, mapping).form == "device"


@pytest.mark.parametrize("member", ["i_sb", "i_dentry.first"])
def test_a_damaged_inode(files: Files, member: str) -> None:
    sb = files.file_system("ext4", "vda")
    mapping = files.file(sb, 5)
    inode = files.kernel.prog.read_u64(mapping)
    files.kernel.set(files.inode_type, inode, member, BEYOND)
    found = unreadable(files, mapping)
    assert found.filesystem == ("ext4" if member == "i_dentry.first" else "")
    files.kernel.write(mapping, bytes(8))
    assert unreadable(files, mapping).filesystem == ""
    assert unreadable(files, BEYOND).filesystem == ""


@pytest.mark.parametrize("member", ["d_parent", "d_name.name", "d_inode"])
def test_a_damaged_name(files: Files, member: str) -> None:
    sb = files.file_system("ext4", "vda")
    mapping = files.file(sb, 5)
    dentry = files.name(mapping, "f", files.root(sb))
    files.kernel.set(files.dentry_type, dentry, member, BEYOND)
    assert unreadable(files, mapping).inode == 5


def test_directories_in_a_circle(files: Files) -> None:
    sb = files.file_system("ext4", "vda")
    mapping = files.file(sb, 5)
    inner = files.directory(files.root(sb), "a", "b")
    outer = files.kernel.prog.read_u64(inner + offsetof(files.dentry_type, "d_parent"))
    files.kernel.set(files.dentry_type, outer, "d_parent", inner)
    files.name(mapping, "f", inner)
    unreadable(files, mapping)


def test_a_long_path_and_one_too_long(files: Files) -> None:
    sb = files.file_system("ext4", "vda")
    mappings = [files.file(sb, i) for i in range(2)]
    names = ["d"] * 200
    files.name(mappings[0], "f", files.directory(files.root(sb), *names))
    files.name(mappings[1], "f", files.directory(files.root(sb), *names, *names))
    reader = FileNames(files.kernel.prog)
    assert [found.path for found in reader.names(mappings[::-1])] == [
        "unreadable",
        "/d" * 200 + "/f",
    ]


def test_a_directory_is_read_once(files: Files) -> None:
    sb = files.file_system("ext4", "vda")
    directory = files.directory(files.root(sb), "a", "b")
    mappings = [files.file(sb, i) for i in range(2)]
    for mapping in mappings:
        files.name(mapping, "f", directory)
    reader = FileNames(files.kernel.prog)
    reader.names(mappings[:1])
    for member in ("d_parent", "d_name.name"):
        files.kernel.set(files.dentry_type, directory, member, BEYOND)
    assert reader.names(mappings[1:])[0].path == "/a/b/f"


def test_mounts_in_a_circle_or_damaged_leave_the_others(files: Files) -> None:
    sb, other = files.file_system("ext4", "vda"), files.file_system("ext4", "vdb")
    bad = files.mount(sb, files.root(sb), 0, files.root(other))
    files.kernel.set(files.mount_type, bad, "mnt_parent", BEYOND)
    files.mount(sb, files.root(sb))
    link = "mnt_instance" if files.mount_lists else "mnt_next_for_sb"
    after = files.mount(sb, files.root(sb))
    at = after + offsetof(files.mount_type, link)
    files.kernel.write(
        at, at.to_bytes(8, "little") if files.mount_lists else after.to_bytes(8, "little")
    )
    mapping = files.file(sb, 5)
    files.name(mapping, "f", files.root(sb))
    assert name(files, mapping).path == "/f"


def test_without_the_first_process_all_namespaces_are_alike(files: Files) -> None:
    sb = files.file_system("ext4", "vda")
    files.kernel._objects.clear()
    files.mount(sb, files.root(sb))
    mapping = files.file(sb, 5)
    files.name(mapping, "f", files.root(sb))
    assert name(files, mapping).path == "/f"


def test_a_kernel_without_the_types() -> None:
    with pytest.raises(MissingStructureError, match="files"):
        FileNames(Kernel().prog)
