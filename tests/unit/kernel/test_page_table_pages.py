# SPDX-License-Identifier: GPL-2.0-only
"""The pages of page tables of processes and of the kernel, made by hand."""

from collections.abc import Sequence

import pytest
from drgn import offsetof
from kernel_by_hand import BASE, Kernel
from synthetic import MODERN

from pageinspect.kernel.page_table_pages import read_page_table_pages
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.owner_memory import PageTablePages
from pageinspect.model.processes import Mm, Process, Tasks

PAGE = 4096
IMAGE = 0xFFFFFFFF80000000
PHYS_BASE = 0x1000000
USER, OTHER_USER = 0x400000, 0x7FFFFFFFF000
VMALLOC, DIRECT = 0xFFFFC90000000000, 0xFFFF888000000000


class Machine(Kernel):
    """Page tables in physical memory, with swapper_pg_dir as `root`."""

    def __init__(self) -> None:
        super().__init__()
        self.swapper = self.root
        self.variable("page_offset_base", self.ulong, BASE)
        self.mm = self.struct("mm_struct", users=self.ulong, pgd=self.void_p)

    def tables(self, root: int) -> set[int]:
        """Return the pfns of the tables below a root, all of which are mapped by map()."""
        found, waiting = set(), [(root, 4)]
        while waiting:
            table, level = waiting.pop()
            found.add(table // PAGE)
            words = (
                [self.prog.read_u64(BASE + table + 8 * i) for i in range(512)] if level > 1 else []
            )
            waiting += [(w & ~0xFFF, level - 1) for w in words if w & 1 and not w & 0x80]
        return found

    def space(self, *addresses: int) -> int:
        """Return the root of new page tables that map these addresses."""
        self.root = self.page()
        for address in addresses:
            self.map(address, 0x1000000)
        return self.root

    def isolate(self) -> None:
        """Set X86_FEATURE_PTI."""
        type_ = self.struct(
            "cpuinfo_x86", family=self.ulong, x86_capability=self.array(self.uint, 22)
        )
        cpu = self.variable("boot_cpu_data", type_)
        word = cpu + offsetof(type_, "x86_capability") + 4 * 7
        self.write(word, (1 << 11).to_bytes(4, "little"))

    def read(self, roots: Sequence[int] = (), processes: Sequence[Process] = ()) -> PageTablePages:
        mms = tuple(Mm(0, root // PAGE, None, "") for root in roots)
        tasks = Tasks(tuple(processes), mms, (), (), 0)
        swapper = IMAGE + self.swapper - PHYS_BASE
        info = {"SYMBOL(swapper_pg_dir)": f"{swapper:x}", "NUMBER(phys_base)": str(PHYS_BASE)}
        return read_page_table_pages(self.prog, info, MODERN, tasks)


def process(pid: int, comm: str, mm: int | None) -> Process:
    return Process(pid, comm, mm, "")


def test_tables_of_each_process_by_its_name() -> None:
    machine = Machine()
    roots = [machine.space(USER, OTHER_USER), machine.space(USER), machine.space()]
    found = machine.read(
        roots,
        [
            process(1, "init", 1),
            process(2, "kthreadd", None),
            process(8, "a", 0),
            process(9, "b", 0),
        ],
    )
    assert [(name, set(pfns.tolist())) for name, pfns in found.processes] == [
        ("a[8]", machine.tables(roots[0])),
        ("init[1]", machine.tables(roots[1])),
        ("", {roots[2] // PAGE}),
    ]
    assert (found.whole, found.unreadable) == (True, 0)


def test_the_kernel_has_the_tables_of_kernel_addresses() -> None:
    machine = Machine()
    machine.map(VMALLOC, 0x1000000)
    machine.map(DIRECT, 0, large=True)
    kernel = machine.tables(machine.swapper)
    machine.map(USER, 0x1000000)
    assert set(machine.read().kernel.tolist()) == kernel
    assert len(kernel) == 1 + 3 + 2


@pytest.mark.parametrize("name", ["text_poke_mm", "poking_mm", "efi_mm"])
def test_the_kernel_has_the_tables_of_its_own_mms(name: str) -> None:
    machine = Machine()
    machine.map(VMALLOC, 0x1000000)
    swapper = machine.tables(machine.swapper)
    root = machine.space(USER, DIRECT)
    mm = machine.make(machine.mm, pgd=BASE + root)
    if name == "efi_mm":
        machine.variable(name, machine.mm, at=mm)
    else:
        machine.variable(name, machine.pointer(machine.mm), mm)
    assert set(machine.read().kernel.tolist()) == swapper | machine.tables(root)
    for pgd, unreadable in ((5, 1), (0, 0)):
        machine.set(machine.mm, mm, "pgd", pgd)
        found = machine.read()
        assert (set(found.kernel.tolist()), found.unreadable) == (swapper, unreadable)


def test_with_isolation_each_pgd_has_a_second_page() -> None:
    machine = Machine()
    machine.swapper, second = machine.page(), machine.page()
    root, last = machine.page(), machine.page()
    machine.root = root
    machine.map(USER, 0x1000000)
    user = machine.tables(root)
    machine.root = second
    machine.map(VMALLOC, 0x1000000)
    found = machine.read([root], [process(8, "a", 0)])
    assert set(found.kernel.tolist()) == {machine.swapper // PAGE}
    machine.isolate()
    found = machine.read([root], [process(8, "a", 0)])
    assert set(found.processes[0][1].tolist()) == user | {last // PAGE}
    assert set(found.kernel.tolist()) == {machine.swapper // PAGE} | machine.tables(second)


def test_tables_that_cannot_be_read_are_counted() -> None:
    machine = Machine()
    roots = [machine.space(USER), 1 << 40, -PAGE]
    machine.write(BASE + roots[0] + 8, (1 << 41 | 1).to_bytes(8, "little"))
    found = machine.read(roots)
    assert (found.whole, found.unreadable) == (False, 3)
    assert [len(pfns) for _, pfns in found.processes] == [5, 1, 0]


def test_the_root_must_be_known() -> None:
    tasks = Tasks((), (), (), (), 0)
    with pytest.raises(MissingStructureError, match=r"SYMBOL\(swapper_pg_dir\)"):
        read_page_table_pages(Machine().prog, {}, MODERN, tasks)
