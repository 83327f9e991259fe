# SPDX-License-Identifier: GPL-2.0-only
"""Finds the pages that block devices keep their requests in.

Each queue of a device has tags, and a list of blocks of pages with a request for each tag. The
first page of a block has the order in the member `private`. Devices may share tags.
"""

from collections.abc import Iterator

from drgn import FaultError, Object, Program, offsetof

from ..model.layout import PageLayout
from ..model.owner_memory import BlockRequests, NamedRange
from .members import Members
from .structures import ListWalk, add_offset, require_structure
from .xarrays import XarrayWalk

_MAX_DEVICES = 1 << 18
_CLASS_LINK, _DEVICES_OF_CLASS = "subsys.kobj.entry", "klist_devices.k_list"
_DEVICE_LINK = "knode_class.n_node"
_MAX_QUEUES = 1 << 20
_MAX_BLOCKS = 1 << 20
_MAX_ORDER = 10
_LONGEST_NAME = 32
"""DISK_NAME_LEN."""


def read_block_requests(prog: Program, layout: PageLayout, end: int) -> BlockRequests:
    """Read the pages of all devices; raises MissingStructureError. `end` is after the last pfn."""
    with require_structure("requests of block devices"):
        reader, disks = _Reader(prog, layout, end), _Disks(prog)
        type_ = prog.type("struct gendisk")
    for disk in disks:
        reader.add(Object(prog, type_, address=disk))
    whole = reader.whole and disks.whole
    return BlockRequests(tuple(reader.found), whole, reader.unreadable + disks.unreadable)


class _Disks:
    """The addresses of all disks, each once.

    The devices of the class block_class are disks and partitions, which refer to their disk.
    """

    def __init__(self, prog: Program) -> None:
        """Raise LookupError for kernels without these structures, such as those before v5.11."""
        self._class = prog["block_class"].address_
        self._classes = prog["class_kset"]
        self._subsystem = Members(
            prog, "struct subsys_private", _CLASS_LINK, "class", _DEVICES_OF_CLASS
        )
        self._private = Members(prog, "struct device_private", _DEVICE_LINK, "device")
        self._device = Members(prog, "struct block_device", "bd_device", "bd_disk")
        self._walk = ListWalk(prog, _MAX_DEVICES)
        self.unreadable = 0

    @property
    def whole(self) -> bool:
        """Whether the lists were followed to their ends."""
        return self._walk.whole and not self.unreadable

    def __iter__(self) -> Iterator[int]:
        seen: set[int] = set()
        for node in self._walk.nodes(self._devices()):
            try:
                private = self._private.read(node - self._private.at[_DEVICE_LINK])
                device = self._private.of(private, "device") - self._device.at["bd_device"]
                disk = self._device.of(self._device.read(device), "bd_disk")
            except FaultError:
                self.unreadable += 1
                continue
            if disk not in seen:
                seen.add(disk)
                yield disk

    def _devices(self) -> int:
        """Return the address of the list of devices; 0, which cannot be read, if it is missing."""
        try:
            for node in self._walk.nodes(self._classes.list.address_of_().value_()):
                address = node - self._subsystem.at[_CLASS_LINK]
                if self._subsystem.of(self._subsystem.read(address), "class") == self._class:
                    return address + self._subsystem.at[_DEVICES_OF_CLASS]
        except FaultError:
            self.unreadable += 1
        return 0


class _Reader:
    def __init__(self, prog: Program, layout: PageLayout, end: int) -> None:
        self._prog = prog
        self._layout = layout
        self._end = end
        page = prog.type("struct page")
        self._link, self._private = int(offsetof(page, "lru")), int(offsetof(page, "private"))
        prog.type("struct blk_mq_tags").member("page_list")
        self._queue = prog.type("struct blk_mq_hw_ctx")
        self._queues = XarrayWalk(prog, _MAX_QUEUES)
        self._blocks = ListWalk(prog, _MAX_BLOCKS)
        self._seen: set[int] = set()
        self.found: list[NamedRange] = []
        self.unreadable = 0

    @property
    def whole(self) -> bool:
        """Whether all lists were followed to their ends."""
        return self._queues.whole and self._blocks.whole and not self.unreadable

    def add(self, disk: Object) -> None:
        """Add the requests of a struct gendisk."""
        try:
            name = disk.disk_name.string_()[:_LONGEST_NAME].decode("utf-8", "replace")
            for address in self._of_disk(disk):
                self._add_queue(name, Object(self._prog, self._queue, address=address))
        except FaultError:
            self.unreadable += 1

    def _of_disk(self, disk: Object) -> Iterator[int]:
        """Yield the addresses of the hardware queues of a disk; there are none without blk-mq.

        Since Linux kernel commit 4e5cc99e1e48 ("blk-mq: manage hctx map via xarray") (in v5.18),
        they are in an xarray. Before and in some later versions, they are in an array.
        """
        queue = disk.queue
        if hasattr(queue, "hctx_table"):
            yield from self._queues.entries(queue.hctx_table.address_of_().value_())
        else:
            for i in range(min(queue.nr_hw_queues.value_(), _MAX_QUEUES)):
                yield queue.queue_hw_ctx[i].value_()

    def _add_queue(self, name: str, queue: Object) -> None:
        for tags in (queue.tags, queue.sched_tags):
            address = tags.value_()
            if address and address not in self._seen:
                self._seen.add(address)
                for node in self._blocks.nodes(tags.page_list.address_of_().value_()):
                    self._add_block(name, add_offset(node, -self._link))

    def _add_block(self, name: str, page: int) -> None:
        """Add a block of pages by the address of the struct page of the first one."""
        pfn, rest = divmod(page - self._layout.vmemmap, self._layout.struct_size)
        order = self._prog.read_u64(add_offset(page, self._private))
        if rest or not 0 <= pfn < self._end or order > _MAX_ORDER:
            self.unreadable += 1
            return
        self.found.append((name, (pfn, pfn + (1 << order))))
