# SPDX-License-Identifier: GPL-2.0-only
"""Files, file systems and mounts made by hand."""

from drgn import offsetof
from kernel_by_hand import Kernel

TMPFS_MAGIC, EXT4_MAGIC = 0x01021994, 0xEF53
INTERNAL = (1 << 64) - 22
"""The namespace of a mount that the kernel made for itself: an error pointer."""


class Files:
    """Makes structures of files in a kernel: with lists of mounts as before, or of today."""

    def __init__(self, kernel: Kernel, *, mount_lists: bool = False) -> None:
        k = self.kernel = kernel
        node = k.struct("hlist_node", next=k.void_p, pprev=k.void_p)
        first = k.struct("hlist_head", first=k.void_p)
        name = k.struct("qstr", hash_len=k.ulong, name=k.void_p)
        u32 = k.uint
        self.mapping_type = k.struct("address_space", host=k.void_p, a_ops=k.void_p)
        self.inode_type = k.struct(
            "inode", i_mode=u32, i_sb=k.void_p, i_ino=k.ulong, i_dentry=first, i_data=k.ulong
        )
        self.dentry_type = k.struct(
            "dentry",
            d_hash=node,
            d_parent=k.void_p,
            d_name=name,
            d_inode=k.void_p,
            d_iname=k.array(k.char, 32),
            **{"d_u" if mount_lists else "d_alias": node},
        )
        self.alias = "d_u" if mount_lists else "d_alias"
        file_system_type = k.struct("file_system_type", flags=k.ulong, name=k.void_p)
        self.type_type = file_system_type
        self.mount_lists = mount_lists
        self.sb_type = k.struct(
            "super_block",
            s_type=k.void_p,
            s_magic=k.ulong,
            s_root=k.void_p,
            s_mounts=k.list_head if mount_lists else k.void_p,
            s_id=k.array(k.char, 32),
        )
        vfsmount = k.struct("vfsmount", mnt_root=k.void_p, mnt_sb=k.void_p)
        link = {"mnt_instance": k.list_head} if mount_lists else {"mnt_next_for_sb": k.void_p}
        self.mount_type = k.struct(
            "mount",
            mnt_parent=k.void_p,
            mnt_mountpoint=k.void_p,
            mnt=vfsmount,
            **link,
            mnt_ns=k.void_p,
        )
        self.namespace, self.other_namespace = k.room(16), k.room(16)
        nsproxy = k.struct("nsproxy", mnt_ns=k.pointer(k.struct("mnt_namespace", seq=k.ulong)))
        task = k.struct("task_struct", nsproxy=k.pointer(nsproxy))
        pids = k.struct("pid_namespace", child_reaper=k.pointer(task))
        init = k.make(task, nsproxy=k.make(nsproxy, mnt_ns=self.namespace))
        k.variable("init_pid_ns", pids, init)
        self._mounts: dict[int, list[int]] = {}

    def file_system(self, name: str, device: str, magic: int = EXT4_MAGIC) -> int:
        """Return the super block of a new file system without mounts."""
        k = self.kernel
        type_ = k.make(self.type_type, name=k.text(name))
        sb = k.make(self.sb_type, s_type=type_, s_magic=magic, s_id=device.encode())
        k.set(self.sb_type, sb, "s_root", self.dentry("/"))
        self._list_mounts(sb)
        return sb

    def root(self, sb: int) -> int:
        """Return the root dentry of a file system."""
        at = sb + offsetof(self.sb_type, "s_root")
        return int(self.kernel.prog.read_u64(at))

    def dentry(self, name: str, parent: int = 0, inode: int = 0, *, hashed: bool = True) -> int:
        """Return a new dentry; without `parent` it is in no directory."""
        k = self.kernel
        address = k.make(self.dentry_type, d_inode=inode)
        k.set(self.dentry_type, address, "d_parent", parent or address)
        k.set(self.dentry_type, address, "d_hash.pprev", int(hashed))
        if len(name) < 32:
            text = address + offsetof(self.dentry_type, "d_iname")
            k.write(text, name.encode() + b"\0")
        else:
            text = k.text(name)
        k.set(self.dentry_type, address, "d_name.name", text)
        return address

    def directory(self, parent: int, *names: str) -> int:
        for name in names:
            parent = self.dentry(name, parent)
        return parent

    def file(self, sb: int, number: int) -> int:
        """Return the mapping of a new file without a name."""
        k = self.kernel
        inode = k.make(self.inode_type, i_sb=sb, i_ino=number)
        return k.make(self.mapping_type, host=inode)

    def name(self, mapping: int, name: str, parent: int = 0, *, hashed: bool = True) -> int:
        """Give a file another name, before those it has; return the dentry."""
        k = self.kernel
        inode = int(k.prog.read_u64(mapping))
        dentry = self.dentry(name, parent, inode, hashed=hashed)
        first = inode + offsetof(self.inode_type, "i_dentry.first")
        node = dentry + offsetof(self.dentry_type, self.alias)
        k.write(node, k.prog.read(first, 8))
        k.write(first, node.to_bytes(8, "little"))
        return dentry

    def mount(self, sb: int, root: int, parent: int = 0, on: int = 0, namespace: int = -1) -> int:
        """Mount `root` of a file system on a dentry of another mount; return the mount."""
        k = self.kernel
        mount = k.make(
            self.mount_type,
            mnt_mountpoint=on,
            mnt__mnt_root=root,
            mnt__mnt_sb=sb,
            mnt_ns=self.namespace if namespace < 0 else namespace,
        )
        k.set(self.mount_type, mount, "mnt_parent", parent or mount)
        self._mounts.setdefault(sb, []).append(mount)
        self._list_mounts(sb)
        return mount

    def _list_mounts(self, sb: int) -> None:
        k = self.kernel
        head = sb + offsetof(self.sb_type, "s_mounts")
        mounts = self._mounts.get(sb, [])
        if self.mount_lists:
            link = offsetof(self.mount_type, "mnt_instance")
            chain = [head, *(mount + link for mount in mounts), head]
            places = chain
        else:
            link = offsetof(self.mount_type, "mnt_next_for_sb")
            chain = [head, *reversed(mounts), 0]
            places = [head, *(mount + link for mount in reversed(mounts))]
        for place, after in zip(places, chain[1:], strict=False):
            k.write(place, after.to_bytes(8, "little"))
