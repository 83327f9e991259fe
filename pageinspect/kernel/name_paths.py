# SPDX-License-Identifier: GPL-2.0-only
"""Builds paths of cgroups and files from chains of names up to the root.

Names are untrusted text. The length of a chain is limited. Unreadable memory raises FaultError.
"""

from drgn import FaultError, Object, container_of

from .structures import read_string

_MAX_STEPS = 256
_LONGEST_NAME = 256


def cgroup_path(cgroup: Object) -> str:
    """Return the path of a struct cgroup * in its hierarchy.

    Since Linux kernel commit 633488947ef6 ("kernfs: Use RCU to access kernfs_node::parent.") (in
    v6.15), the member parent is named __parent.
    """
    node = cgroup.kn
    parent = "__parent" if hasattr(node, "__parent") else "parent"
    names: list[str] = []
    for _ in range(_MAX_STEPS):
        above = getattr(node, parent).read_()
        if not above:
            return "/" + "/".join(reversed(names))
        names.append(read_string(cgroup.prog_, node.name.value_(), _LONGEST_NAME))
        node = above
    raise FaultError("the path of a cgroup does not end", node.value_())


def memory_cgroup(css_set: Object) -> Object:
    """Return the struct cgroup * of a struct css_set * that accounts its memory.

    It is the cgroup of the memory controller, or that of the default hierarchy if the controller is
    in it or there is none. Raises LookupError for kernels without cgroups.
    """
    default = css_set.dfl_cgrp.read_()
    try:
        number = css_set.prog_.constant("memory_cgrp_id").value_()
    except LookupError:
        return default
    css = css_set.subsys[number].read_()
    if not css:
        return default
    cgroup = css.cgroup.read_()
    return default if cgroup.root.value_() == default.root.value_() else cgroup


def file_path(file: Object) -> str:
    """Return the path of a struct file * in the namespace of its mount."""
    dentry, mount = file.f_path.dentry.read_(), container_of(file.f_path.mnt, "struct mount", "mnt")
    names: list[str] = []
    for _ in range(_MAX_STEPS):
        if dentry.value_() == mount.mnt.mnt_root.value_():
            above = mount.mnt_parent.read_()
            if above.value_() == mount.value_():
                return "/" + "/".join(reversed(names))
            dentry, mount = mount.mnt_mountpoint.read_(), above
            continue
        parent = dentry.d_parent.read_()
        if parent.value_() == dentry.value_():
            return "/" + "/".join(reversed(names))
        names.append(read_string(file.prog_, dentry.d_name.name.value_(), _LONGEST_NAME))
        dentry = parent
    raise FaultError("the path of a file does not end", dentry.value_())
