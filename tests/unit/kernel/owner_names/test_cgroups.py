# SPDX-License-Identifier: GPL-2.0-only
"""Memory cgroups, in memory made by hand."""

import pytest
from kernel_by_hand import BASE, Kernel
from owner_builder import ONLINE, Cgroups

from pageinspect.kernel.owner_names.cgroups import MemoryCgroupNames
from pageinspect.kernel.structures import MissingStructureError

BEYOND = BASE + (1 << 30)
KMEM = 2


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
