# SPDX-License-Identifier: GPL-2.0-only
"""Structures of owners of pages made by hand, in a kernel made by hand."""

import struct

import numpy as np
from drgn import Object, Type, TypeMember
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.owner_names.anon import AnonOwners
from pageinspect.kernel.owner_names.cgroups import MemoryCgroupNames
from pageinspect.kernel.owner_names.page_pools import PagePoolNames
from pageinspect.kernel.owner_names.slab_objects import ChargedObjects, SlabObjects
from pageinspect.model.owner_names import AnonOwner

ONLINE = 2
"""CSS_ONLINE."""
OBJEXTS = 1


class Areas:
    def __init__(self) -> None:
        k = self.kernel = Kernel()
        node = k.struct("rb_node", parent=k.ulong, rb_right=k.void_p, rb_left=k.void_p)
        root = k.struct("rb_root", rb_node=k.void_p)
        cached = k.struct("rb_root_cached", rb_root=root, rb_leftmost=k.void_p)
        self.anon_type = k.struct("anon_vma", refcount=k.ulong, rb_root=cached)
        self.chain_type = k.struct("anon_vma_chain", vma=k.void_p, same=k.list_head, rb=node)
        self.vma_type = k.struct("vm_area_struct", start=k.ulong, vm_mm=k.void_p, anon_vma=k.void_p)

    def chain(self, vma: int, left: int = 0, right: int = 0) -> int:
        """Return the tree node of a new link to a memory area."""
        chain = self.kernel.make(self.chain_type, vma=vma, rb__rb_left=left, rb__rb_right=right)
        return chain + 24

    def anon(self, *mms: int, own: int = 0) -> int:
        """Return a new anon_vma of areas of these mms, in a tree; the area `own` is the first's."""
        address = self.kernel.make(self.anon_type)
        top = 0
        for i, mm in enumerate(mms):
            area = self.kernel.make(self.vma_type, vm_mm=mm, anon_vma=address if i == own else BASE)
            top = self.chain(area, top if i % 2 else 0, 0 if i % 2 else top)
        self.kernel.set(self.anon_type, address, "rb_root.rb_root.rb_node", top)
        return address

    def owner(self, word: int) -> AnonOwner:
        (found,) = AnonOwners(self.kernel.prog).owners([word])
        return found


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


class PagePools:
    """Pools with a network device, or as before with a device alone."""

    def __init__(self, *, network: bool = True) -> None:
        k = self.kernel = Kernel()
        self.net_type = k.struct("net_device", ops=k.void_p, name=k.array(k.char, 16))
        kobject = k.struct("kobject", name=k.void_p)
        self.device_type = k.struct("device", kobj=kobject)
        more = {}
        if network:
            more = {
                "slow": k.struct("slow", netdev=k.void_p),
                "user": k.struct("user", list=k.list_head, id=k.uint),
            }
        self.pool_type = k.struct(
            "page_pool",
            p=k.struct("parameters", order=k.uint, dev=k.void_p),
            pages_state_hold_cnt=k.uint,
            pages_state_release_cnt=k.uint,
            **more,
        )

    def pool(self, **values: int) -> int:
        return self.kernel.make(self.pool_type, **values)

    def name(self, pool: int) -> str:
        (found,) = PagePoolNames(self.kernel.prog).names([pool])
        assert found.address == pool
        return found.name


class ZsPools:
    def __init__(self) -> None:
        k = self.kernel = Kernel()
        self.zspage_type = k.struct("zspage", inuse=k.array(k.ulong, 5), pool=k.void_p)
        self.pool_type = k.struct(
            "zs_pool", name=k.void_p, classes=k.array(k.void_p, 9), pages_allocated=k.ulong
        )

    def pool(self, name: str, pages: int) -> int:
        name_at = self.kernel.text(name)
        return self.kernel.make(self.pool_type, name=name_at, pages_allocated=pages)


class Slabs:
    """`form` is one of: pointers, elements, stride, in_object."""

    def __init__(self, form: str) -> None:
        self.form = form
        k = self.kernel = Kernel()
        k.struct("kmem_cache", name=k.void_p, size=k.uint)
        rows = [TypeMember(k.ulong, "counters", 320)]
        bits = {"stride": [("stride", 16, 352)]}.get(form, [])
        if form == "in_object":
            bits = [("obj_exts_in_object", 1, 352), ("obj_exts_needs_objcg", 1, 353)]
        for name, size, at in bits:
            rows.append(TypeMember(Object(k.prog, k.uint, bit_field_size=size), name, at))
        rows.append(TypeMember(k.ulong, "memcg_data" if form == "pointers" else "obj_exts", 448))
        k._types["slab"] = k.prog.struct_type("slab", 64, rows)
        if form == "elements":
            k.struct("slabobj_ext", ref=k.ulong, objcg=k.void_p)
        elif form != "pointers":
            self.union(_objcg=k.void_p)

    def union(self, **members: Type) -> None:
        k = self.kernel
        inner = k.prog.union_type(None, 8, [TypeMember(t, n, 0) for n, t in members.items()])
        k._types["slabobj_ext"] = k.prog.struct_type("slabobj_ext", 8, [TypeMember(inner, None, 0)])

    def cache(self, size: int) -> int:
        return self.kernel.make(self.kernel._types["kmem_cache"], size=size)

    def vector(self, *words: int, step: int = 8, at: int = 0) -> int:
        """Return the word of a vector of objcgs that are `step` bytes from each other."""
        address = self.kernel.room(step * len(words) + at + 8, 8)
        for i, word in enumerate(words):
            self.kernel.write(address + i * step + at, struct.pack("<Q", word))
        return address | OBJEXTS

    def charged(self, *slabs: tuple[int, int, int]) -> ChargedObjects:
        columns = np.array(slabs, np.uint64).reshape(-1, 3)
        return SlabObjects(self.kernel.prog).charged(*columns.T)


def counters(objects: int, high: int = 0, inuse: int = 3) -> int:
    return high << 32 | 1 << 31 | objects << 16 | inuse
