# SPDX-License-Identifier: GPL-2.0-only
"""Names files from words that point to a struct address_space.

The word is `mapping` of a folio's head, of pages with the use file, shmem or hugetlb.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from drgn import FaultError, Program

from ...host.progress import paced
from ...model.owner_names import UNREADABLE, FileForm, FileName
from ..dentry_paths import Dentry, DentryPaths
from ..members import Members
from ..structures import add_offset, read_string, require_structure

_MAX_ALIASES = 16
"""Names of one inode that are tried."""
_LONGEST_TYPE = 64
_LONGEST_DEVICE = 64
_TMPFS_MAGIC = 0x01021994
"""s_magic of tmpfs and devtmpfs with CONFIG_SHMEM; without, they have that of ramfs."""
_ANONYMOUS = {"dev/zero": "/dev/zero (shared anonymous)", "anon_hugepage": "anon_hugepage"}
"""Names that the kernel gives to files behind anonymous mappings that are shared."""
_UNREADABLE = FileName(UNREADABLE, "", "", 0, "unreadable", shmem=False)


@dataclass(frozen=True, slots=True)
class _FileSystem:
    address: int
    type: str
    device: str
    shmem: bool


@dataclass(frozen=True, slots=True)
class _Inode:
    address: int
    number: int
    aliases: int
    file_system: _FileSystem


class FileNames:
    """Names files. Superblocks, mounts and directories are read once."""

    def __init__(self, prog: Program) -> None:
        self._prog = prog
        with require_structure("files"):
            self._mapping = Members(prog, "struct address_space", "host")
            self._inode = Members(prog, "struct inode", "i_sb", "i_ino", "i_dentry.first")
            self._super_block = Members(
                prog, "struct super_block", *("s_type", "s_magic", "s_id", "s_root")
            )
            self._type = Members(prog, "struct file_system_type", "name")
            self._paths = DentryPaths(prog)
        self._device = _device_members(prog)
        self._file_systems: dict[int, _FileSystem] = {}
        self.unreadable = 0

    @property
    def unreadable_mounts(self) -> int:
        """Mounts that could not be read: paths may begin at the root of their file system."""
        return self._paths.unreadable_mounts

    def names(self, words: Iterable[int]) -> list[FileName]:
        """Return the file of each word, in the same order."""
        return [self._known_name(int(word)) for word in paced(words, 256)]

    def _known_name(self, word: int) -> FileName:
        inode = None
        try:
            inode = self._inode_of(word)
            return _name(inode, *self._path(inode))
        except FaultError:
            self.unreadable += 1
            return _UNREADABLE if inode is None else _name(inode, UNREADABLE, "unreadable")

    def name(self, word: int) -> FileName:
        """Return the file of a word. Raises FaultError."""
        inode = self._inode_of(word)
        return _name(inode, *self._path(inode))

    def _inode_of(self, word: int) -> _Inode:
        host = self._mapping.of(self._mapping.read(word), "host")
        data = self._inode.read(host)
        file_system = self._file_system(self._inode.of(data, "i_sb"))
        number, aliases = (self._inode.of(data, member) for member in ("i_ino", "i_dentry.first"))
        return _Inode(host, number, aliases, file_system)

    def _file_system(self, address: int) -> _FileSystem:
        known = self._file_systems.get(address)
        if known is None:
            members = self._super_block
            data = members.read(address)
            name = self._type.of(self._type.read(members.of(data, "s_type")), "name")
            text = members.bytes_of(data, "s_id", members.size_of("s_id")).partition(b"\0")[0]
            known = self._file_systems[address] = _FileSystem(
                address=address,
                type=read_string(self._prog, name, _LONGEST_TYPE),
                device=text.decode("utf-8", "replace"),
                shmem=members.of(data, "s_magic") == _TMPFS_MAGIC,
            )
        return known

    def _path(self, inode: _Inode) -> tuple[str, FileForm]:
        file_system = inode.file_system
        if file_system.type == "bdev" and self._device is not None:
            return f"block device {self._device_name(inode.address, self._device)}", "device"
        # A file that was opened by its number has the name "/" until its own is known.
        names = [n for n in self._aliases(inode) if not (n.is_root and n.name == "/")]
        if not names:
            where = f"{file_system.type} on {file_system.device}"
            return f"inode {inode.number} of {where}", "inode"
        name = next((name for name in names if name.hashed), names[0])
        if name.is_root:
            shared = len({name.name for name in names}) > 1
            return _kernel_file(file_system.type if shared else name.name, inode.number)
        path, mounted = self._paths.path(name, file_system.address)
        if not name.hashed:
            return f"{path} (deleted)", "deleted"
        return path, "path" if mounted else "unmounted"

    def _aliases(self, inode: _Inode) -> Iterator[Dentry]:
        address = self._paths.alias(inode.aliases)
        for _ in range(_MAX_ALIASES):
            if not address:
                return
            dentry = self._paths.dentry(address)
            if dentry.inode != inode.address:
                raise FaultError("a name of an inode belongs to another", address)
            yield dentry
            address = dentry.next_alias

    def _device_name(self, inode: int, members: tuple[Members, int]) -> str:
        device, inode_at = members
        start = add_offset(inode, -inode_at)
        name = device.of(device.read(start), "bdev.bd_device.kobj.name")
        return read_string(self._prog, name, _LONGEST_DEVICE)


def _name(inode: _Inode, path: str, form: FileForm) -> FileName:
    system = inode.file_system
    return FileName(path, system.type, system.device, inode.number, form, shmem=system.shmem)


def _kernel_file(name: str, inode: int) -> tuple[str, FileForm]:
    """Return path and form of a file that is in no directory.

    SysV segments have the key in the name, and the id as inode number.
    """
    if name.startswith("memfd:"):
        return name, "memfd"
    if name.startswith("SYSV"):
        return f"SYSV id {inode} key 0x{name.removeprefix('SYSV')}", "sysv"
    if name in _ANONYMOUS:
        return _ANONYMOUS[name], "anonymous"
    return name, "pseudo"


def _device_members(prog: Program) -> tuple[Members, int] | None:
    try:
        return (
            Members(prog, "struct bdev_inode", "bdev.bd_device.kobj.name"),
            Members(prog, "struct bdev_inode", "vfs_inode").at["vfs_inode"],
        )
    except LookupError:
        return None
