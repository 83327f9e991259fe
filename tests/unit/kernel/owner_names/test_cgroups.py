# SPDX-License-Identifier: GPL-2.0-only
"""Memory cgroups, in memory made by hand."""

import pytest
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.owner_names.cgroups import MemoryCgroupNames
from pageinspect.kernel.structures import MissingStructureError

BEYOND = BASE + (1 << 30)
ONLINE = 2
KMEM = 2


class Cgroups:
    def __init__(self, *, objects: bool = True) -> None:
        k = self.kernel = Kernel()
        k.enum("online", ["zero", "CSS_NO_REF", "CSS_ONLINE"])
        self.node_type = k.struct("kernfs_node", count=k.ulong, __parent=k.void_p, name=k.void_p)
        self.cgroup_type = k.struct("cgroup", level=k.ulong, kn=k.void_p)
        css = k.struct("cgroup_subsys_state", cgroup=k.void_p, ss=k.void_p, flags=k.uint)
        self.memcg_type = k.struct("mem_cgroup", css=css)
        if objects:
            self.objcg_type = k.struct("obj_cgroup", refcnt=k.list_head, memcg=k.void_p)
        self.controller = k.room(16)
        k.symbols({"memory_cgrp_subsys": (self.controller, 8)})

    def memcg(self, *path: str, flags: int = ONLINE) -> int:
        k = self.kernel
        node = k.make(self.node_type, name=k.text(""))
        for name in path:
            above, node = node, k.make(self.node_type, name=k.text(name))
            k.set(self.node_type, node, "__parent", above)
        cgroup = k.make(self.cgroup_type, kn=node)
        memcg = k.make(self.memcg_type, css__cgroup=cgroup, css__ss=self.controller)
        k.set(self.memcg_type, memcg, "css.flags", flags)
        return memcg

    def objcg(self, memcg: int) -> int:
        return self.kernel.make(self.objcg_type, memcg=memcg)

    def names(self, *words: int) -> tuple[list[str], int]:
        reader = MemoryCgroupNames(self.kernel.prog)
        return reader.names(words), reader.unreadable


def test_paths_of_both_kinds_of_words() -> None:
    cgroups = Cgroups()
    inner = cgroups.memcg("a.slice", "b\x1b")
    words = [0, cgroups.memcg(), inner, cgroups.objcg(inner), cgroups.objcg(inner) | KMEM]
    assert cgroups.names(*words) == (["", "/", *["/a.slice/b\x1b"] * 3], 0)


def test_a_removed_cgroup() -> None:
    cgroups = Cgroups()
    gone = cgroups.memcg("gone", flags=0xFF & ~ONLINE)
    assert cgroups.names(gone) == (["/gone (removed)"], 0)


def test_damage_is_counted() -> None:
    cgroups = Cgroups()
    other = cgroups.memcg("x")
    cgroups.kernel.set(cgroups.memcg_type, other, "css.ss", BASE)
    ring = cgroups.memcg("a")
    cgroup = cgroups.kernel.prog.read_u64(ring)
    node = cgroups.kernel.prog.read_u64(cgroup + 8)
    cgroups.kernel.set(cgroups.node_type, node, "__parent", node)
    words = [BEYOND, other, cgroups.objcg(BEYOND), cgroups.objcg(0), ring, 8]
    assert cgroups.names(*words) == (["unreadable"] * 6, 6)


def test_a_kernel_without_cgroups_of_objects() -> None:
    cgroups = Cgroups(objects=False)
    assert cgroups.names(cgroups.memcg("a"), BASE) == (["/a", "unreadable"], 1)


def test_a_kernel_without_the_controller() -> None:
    with pytest.raises(MissingStructureError, match="memory cgroups"):
        MemoryCgroupNames(Kernel().prog)
