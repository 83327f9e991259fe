# SPDX-License-Identifier: GPL-2.0-only
"""Builds paths of files from chains of struct dentry, across mounts.

Names are untrusted text. Unreadable memory raises FaultError, and so do chains that do not end.
"""

from dataclasses import dataclass

from drgn import FaultError, Object, Program

from .members import Members
from .structures import add_offset, read_string

_MAX_STEPS = 256
_LONGEST_NAME = 256
_LONGEST_PATH = 1 << 12
"""PATH_MAX."""
_MAX_MOUNTS = 1 << 12
"""Mounts of one file system."""
_ERROR_POINTERS = (1 << 64) - (1 << 12)
"""Error pointers are from here on. Mounts that the kernel made for itself have one as namespace."""

Rank = tuple[int, int, int]
_UNMOUNTED = (2, 0, 0)


@dataclass(frozen=True, slots=True)
class Dentry:
    """A name of a file; addresses are those of struct dentry."""

    address: int
    parent: int
    name: str
    inode: int
    hashed: bool
    """False once the name was removed from its directory."""
    next_alias: int
    """The next name of the same inode; 0 without one."""

    @property
    def is_root(self) -> bool:
        """Whether it is in no directory: roots of file systems, and files of the kernel's own."""
        return self.parent == self.address


class DentryPaths:
    """Reads dentries and mounts. The paths of directories are read once."""

    def __init__(self, prog: Program) -> None:
        """Look up the types; raises LookupError."""
        self._prog = prog
        # In older kernels the union with d_alias has the name d_u.
        alias = "d_u" if prog.type("struct dentry").has_member("d_u") else "d_alias"
        self._dentry = Members(
            prog, "struct dentry", *("d_hash.pprev", "d_parent", "d_name.name", "d_inode", alias)
        )
        self._alias = alias
        self._mount = Members(
            prog,
            "struct mount",
            *("mnt_parent", "mnt_mountpoint", "mnt.mnt_root", "mnt_ns"),
            optional=("mnt_instance", "mnt_next_for_sb"),
        )
        self._vfsmount_at = Members(prog, "struct mount", "mnt").at["mnt"]
        self._super_block = Members(prog, "struct super_block", "s_root", "s_mounts")
        self._namespace: int | None = None
        self._known: dict[int, tuple[Rank, str]] = {}
        self.unreadable_mounts = 0
        """Mounts that could not be read: paths may begin at the root of their file system."""
        self._roots: dict[int, dict[int, tuple[Rank, str]]] = {}

    def alias(self, node: int) -> int:
        """Return the address of the dentry with this node in the list of names of an inode."""
        return add_offset(node, -self._dentry.at[self._alias]) if node else 0

    def dentry(self, address: int) -> Dentry:
        """Read a dentry. Raises FaultError."""
        members = self._dentry
        data = members.read(address)
        return Dentry(
            address=address,
            parent=members.of(data, "d_parent"),
            name=self._name(members.of(data, "d_name.name"), address, data),
            inode=members.of(data, "d_inode"),
            hashed=bool(members.of(data, "d_hash.pprev")),
            next_alias=self.alias(members.of(data, self._alias)),
        )

    def _name(self, name: int, address: int, data: bytes) -> str:
        inside = name - address
        if 0 <= inside < len(data):
            # Short names are in the dentry itself.
            found, end, _ = data[inside:].partition(b"\0")
            if end:
                return found.decode("utf-8", "replace")
        return read_string(self._prog, name, _LONGEST_NAME)

    def path(self, dentry: Dentry, super_block: int) -> tuple[str, bool]:
        """Return the path of a file, and whether a mount shows it.

        Of several mounts, those in the namespace of the first process are preferred, then those of
        the whole file system, then those made first. Without a mount the path begins at the root of
        the file system. Raises FaultError.
        """
        if super_block not in self._roots:
            self._roots[super_block] = self._read_roots(super_block)
        roots = self._roots[super_block]
        below: list[Dentry] = []
        at = dentry
        while (known := self._known.get(at.address)) is None:
            if len(below) == _MAX_STEPS:
                raise FaultError("the path of a file does not end", at.address)
            below.append(at)
            known = self._known.get(at.parent)
            if at.is_root or known is not None:
                break
            at = self.dentry(at.parent)
        for step in reversed(below):
            rank, path = known or (_UNMOUNTED, "")
            here = (rank, path if step.is_root else f"{path}/{step.name}"[:_LONGEST_PATH])
            known = min(here, roots.get(step.address, here))
            if step is not dentry:
                self._known[step.address] = known
        rank, path = known or (_UNMOUNTED, "")
        return path or "/", rank != _UNMOUNTED

    def _read_roots(self, super_block: int) -> dict[int, tuple[Rank, str]]:
        """Return rank and path of the best mount for each root that a file system has."""
        data = self._super_block.read(super_block)
        whole = self._super_block.of(data, "s_root")
        roots: dict[int, tuple[Rank, str]] = {}
        for number, mount in enumerate(self._mounts_oldest_first(super_block, data)):
            try:
                read = self._mount.read(mount)
                namespace = self._mount.of(read, "mnt_ns")
                if not 0 < namespace < _ERROR_POINTERS:
                    continue
                root = self._mount.of(read, "mnt.mnt_root")
                rank = (int(namespace != self._first_namespace()), int(root != whole), number)
                if root not in roots or rank < roots[root][0]:
                    path = self._mounted_path(root, mount)
                    roots[root] = (rank, "" if path == "/" else path)
            except FaultError:
                self.unreadable_mounts += 1
        return roots

    def _mounts_oldest_first(self, super_block: int, data: bytes) -> list[int]:
        """Return the mounts of a file system: of a list, or in newer kernels of a chain.

        A new mount is the last of the list, and the first of the chain.
        """
        is_list = "mnt_instance" in self._mount
        link = self._mount.at["mnt_instance" if is_list else "mnt_next_for_sb"]
        end = add_offset(super_block, self._super_block.at["s_mounts"]) if is_list else 0
        node = self._super_block.of(data, "s_mounts")
        mounts: list[int] = []
        while node != end and len(mounts) < _MAX_MOUNTS:
            mount = add_offset(node, -link) if is_list else node
            mounts.append(mount)
            try:
                node = self._prog.read_u64(add_offset(mount, link))
            except FaultError:
                break
        return mounts if is_list else mounts[::-1]

    def _first_namespace(self) -> int:
        """Return the address of the mount namespace of the first process; 0 if it is unreadable."""
        if self._namespace is None:
            try:
                reaper = self._prog["init_pid_ns"].child_reaper
                self._namespace = int(reaper.nsproxy.mnt_ns.value_())
            except (FaultError, LookupError, AttributeError):
                self._namespace = 0
        return self._namespace

    def of_file(self, file: Object) -> str:
        """Return the path of a struct file * in the namespace of its mount. Raises FaultError."""
        path = file.f_path.read_()
        mount = add_offset(path.mnt.value_(), -self._vfsmount_at)
        return self._mounted_path(path.dentry.value_(), mount)

    def _mounted_path(self, dentry: int, mount: int) -> str:
        """Return the path of a dentry below a struct mount, in the namespace of the mount."""
        names: list[str] = []
        data = self._mount.read(mount)
        for _ in range(_MAX_STEPS):
            if dentry == self._mount.of(data, "mnt.mnt_root"):
                above = self._mount.of(data, "mnt_parent")
                if above == mount:
                    return _whole(names)
                dentry, mount = self._mount.of(data, "mnt_mountpoint"), above
                data = self._mount.read(mount)
                continue
            step = self.dentry(dentry)
            if step.is_root:
                return _whole(names)
            names.append(step.name)
            dentry = step.parent
        raise FaultError("the path of a file does not end", dentry)


def _whole(names: list[str]) -> str:
    return "/" + "/".join(reversed(names))[:_LONGEST_PATH]
