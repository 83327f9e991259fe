# SPDX-License-Identifier: GPL-2.0-only
"""Builds paths of cgroups from chains of names up to the root.

Names are untrusted text. The length of a chain is limited. Unreadable memory raises FaultError.
"""

from drgn import FaultError, Object, Program

from .members import Members
from .structures import read_string

_MAX_STEPS = 256
_LONGEST_NAME = 256
_LONGEST_PATH = 1 << 12
"""PATH_MAX."""


class CgroupPaths:
    """Paths of cgroups in their hierarchy. Each struct kernfs_node is read once."""

    def __init__(self, prog: Program) -> None:
        """Look up the types; raises LookupError.

        Since Linux kernel commit 633488947ef6 ("kernfs: Use RCU to access kernfs_node::parent.")
        (in v6.15), the member parent is named __parent.
        """
        self._prog = prog
        self._node = Members(prog, "struct kernfs_node", "name", optional=("__parent", "parent"))
        self._parent = "__parent" if "__parent" in self._node else "parent"
        self._known: dict[int, str] = {}

    def path(self, node: int) -> str:
        """Return the path of the cgroup with this struct kernfs_node; "/" is the root.

        Raises FaultError.
        """
        below: list[tuple[int, str]] = []
        while node not in self._known:
            if len(below) == _MAX_STEPS:
                raise FaultError("the path of a cgroup does not end", node)
            data = self._node.read(node)
            above = self._node.of(data, self._parent)
            if not above:
                self._known[node] = ""
                break
            name = read_string(self._prog, self._node.of(data, "name"), _LONGEST_NAME)
            below.append((node, name))
            node = above
        path = self._known[node]
        for node, name in reversed(below):
            path = self._known[node] = f"{path}/{name}"[:_LONGEST_PATH]
        return path or "/"


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
