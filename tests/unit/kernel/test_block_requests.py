# SPDX-License-Identifier: GPL-2.0-only
"""Pages with requests of block devices, read from disks made by hand."""

from dataclasses import dataclass, field, replace

import pytest
from drgn import offsetof
from kernel_by_hand import Kernel
from synthetic import MODERN

from pageinspect.kernel import block_requests
from pageinspect.kernel.block_requests import read_block_requests
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.owner_memory import BlockRequests

GONE = 0xFFFF8FFFFFFFF000
SIZE = 64
END = 1024
"""One after the last pfn."""


@dataclass
class Disks:
    """Disks with hardware queues, in an xarray or in an array; struct pages from `pages` on."""

    xarray: bool = True
    kernel: Kernel = field(default_factory=Kernel)
    disks: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        k = self.kernel
        self.page = k.struct(
            "page", flags=k.ulong, lru=k.list_head, rest=k.array(k.ulong, 2), private=k.ulong
        )
        self.pages = k.room(SIZE * END, 4096)
        self.tags = k.struct("blk_mq_tags", nr_tags=k.ulong, page_list=k.list_head)
        pointer = k.pointer(self.tags)
        self.hctx = k.struct("blk_mq_hw_ctx", lock=k.ulong, tags=pointer, sched_tags=pointer)
        array = k.struct("xarray", flags=k.ulong, xa_head=k.void_p)
        self.node = k.struct("xa_node", shift=k.char, slots=k.array(k.void_p, 64))
        table = (
            {"hctx_table": array}
            if self.xarray
            else {"queue_hw_ctx": k.pointer(k.pointer(self.hctx))}
        )
        self.queue = k.struct("request_queue", nr_hw_queues=k.uint, **table)
        self.disk = k.struct(
            "gendisk", major=k.ulong, disk_name=k.array(k.char, 32), queue=k.pointer(self.queue)
        )
        self._make_class()

    def _make_class(self) -> None:
        """Make two classes, of which the second is block_class."""
        k = self.kernel
        of_class = k.struct("class", name=k.ulong)
        block = k.variable("block_class", of_class)
        kobject = k.struct("kobject", name=k.ulong, entry=k.list_head)
        kset = k.struct("kset", list=k.list_head, kobj=kobject)
        klist = k.struct("klist", lock=k.ulong, k_list=k.list_head)
        members = {"subsys": kset, "klist_devices": klist, "class": k.void_p}
        subsystem = k.struct("subsys_private", **members)
        node = k.struct("klist_node", n_klist=k.ulong, n_node=k.list_head)
        self.private = k.struct(
            "device_private", bus=k.array(k.ulong, 2), knode_class=node, device=k.void_p
        )
        self.device = k.struct(
            "block_device", sector=k.ulong, bd_device=k.ulong, bd_disk=k.pointer(self.disk)
        )
        other, ours = (k.make(subsystem, **{"class": owner}) for owner in (8, block))
        self.devices = ours + offsetof(subsystem, "klist_devices.k_list")
        entry = offsetof(subsystem, "subsys.kobj.entry")
        self.classes = k.room(64)
        k.link(self.classes, other + entry, ours + entry)
        k.variable("class_kset", k.pointer(kset), self.classes)

    def make_tags(self, *blocks: tuple[int, int]) -> int:
        """Make tags with blocks of pages, given as the first pfn and the order."""
        k = self.kernel
        tags = k.make(self.tags)
        head, link = tags + offsetof(self.tags, "page_list"), offsetof(self.page, "lru")
        nodes = [head]
        for pfn, order in blocks:
            page = self.pages + pfn * SIZE
            k.set(self.page, page, "private", order)
            nodes.append(page + link)
        for node, following in zip(nodes, [*nodes[1:], head], strict=True):
            k.write(node, following.to_bytes(8, "little"))
        return tags

    def add_disk(self, name: str, *tags: tuple[int, int]) -> None:
        """Add a disk with a queue for each pair of tags."""
        k = self.kernel
        queues = [k.make(self.hctx, tags=first, sched_tags=second) for first, second in tags]
        if self.xarray:
            node = k.make(self.node)
            for i, queue in enumerate(queues):
                slot = node + offsetof(self.node, "slots") + 8 * i
                k.write(slot, queue.to_bytes(8, "little"))
            values = {"hctx_table__xa_head": node + 2}
        else:
            values = {"queue_hw_ctx": k.words(*queues), "nr_hw_queues": len(queues)}
        queue = k.make(self.queue, **values)
        self.disks.append(k.make(self.disk, disk_name=name.encode(), queue=queue))

    def read(self) -> BlockRequests:
        k = self.kernel
        devices = [k.make(self.device, bd_disk=disk) + 8 for disk in (*self.disks, *self.disks)]
        nodes = [k.make(self.private, device=device) + 24 for device in devices]
        k.link(self.devices, *nodes)
        layout = replace(MODERN, vmemmap=self.pages, struct_size=SIZE)
        return read_block_requests(self.kernel.prog, layout, END)


@pytest.mark.parametrize("xarray", [True, False])
def test_blocks_of_all_queues(xarray: bool) -> None:
    made = Disks(xarray)
    first, second = made.make_tags((16, 4), (32, 2)), made.make_tags((40, 0))
    made.add_disk("vda", (first, 0), (second, made.make_tags((64, 1))))
    made.add_disk("vdb", (made.make_tags((80, 4)), 0))
    found = made.read()
    assert sorted(found.parts) == [
        ("vda", (16, 32)),
        ("vda", (32, 36)),
        ("vda", (40, 41)),
        ("vda", (64, 66)),
        ("vdb", (80, 96)),
    ]
    assert (found.whole, found.unreadable) == (True, 0)


def test_shared_tags_belong_to_the_first_disk() -> None:
    made = Disks()
    shared = made.make_tags((16, 4))
    made.add_disk("sda", (shared, shared))
    made.add_disk("sdb", (shared, 0))
    assert made.read().parts == (("sda", (16, 32)),)


def test_blocks_that_cannot_be_are_counted() -> None:
    made = Disks()
    made.add_disk("vda", (made.make_tags((16, 11), (32, 0)), 0))
    found = made.read()
    assert (found.parts, found.whole, found.unreadable) == ((("vda", (32, 33)),), False, 1)
    tags = made.make_tags((48, 0))
    page = made.pages + 50 * SIZE + 16
    made.kernel.write(tags + 8, page.to_bytes(8, "little"))
    made.kernel.write(page, (tags + 8).to_bytes(8, "little"))
    made.add_disk("vdb", (tags, 0))
    assert made.read().unreadable == 2


def test_what_cannot_be_read_is_counted() -> None:
    made = Disks()
    made.disks.append(GONE)
    made.add_disk("vda", (made.make_tags((16, 0)), 0))
    found = made.read()
    assert (found.parts, found.unreadable) == ((("vda", (16, 17)),), 1)
    made.add_disk("vdb", (GONE, 0))
    assert not made.read().whole


def test_blocks_and_disks_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Disks()
    made.add_disk("vda", (made.make_tags((16, 0), (17, 0)), 0))
    made.add_disk("vdb", (made.make_tags((18, 0)), 0))
    with monkeypatch.context() as patch:
        patch.setattr(block_requests, "_MAX_BLOCKS", 1)
        assert not made.read().whole
    monkeypatch.setattr(block_requests, "_MAX_DEVICES", 3)
    found = made.read()
    assert (len(found.parts), found.whole) == (2, False)


def test_a_list_of_devices_that_leads_astray_is_not_whole() -> None:
    made = Disks()
    made.add_disk("vda", (made.make_tags((16, 0)), 0))
    assert made.read().whole
    node = made.kernel.prog.read_u64(made.devices)
    made.kernel.write(node, node.to_bytes(8, "little"))
    layout = replace(MODERN, vmemmap=made.pages, struct_size=SIZE)
    found = read_block_requests(made.kernel.prog, layout, END)
    assert (len(found.parts), found.whole) == (1, False)


def test_a_class_that_is_not_found_is_not_whole() -> None:
    made = Disks()
    made.add_disk("vda", (made.make_tags((16, 0)), 0))
    made.kernel.link(made.classes)
    assert made.read() == BlockRequests(whole=False)


def test_a_kernel_without_block_devices() -> None:
    with pytest.raises(MissingStructureError, match="requests of block devices"):
        read_block_requests(Kernel().prog, MODERN, END)
    made = Disks()
    del made.kernel._objects["class_kset"]
    with pytest.raises(MissingStructureError, match="class_kset"):
        made.read()
