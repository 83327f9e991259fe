# SPDX-License-Identifier: GPL-2.0-only
"""The forms of one core that are damaged, and where in their files what matters lies."""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import diskdump
from drgn import Program

from pageinspect import open_core
from pageinspect.inspector.inspector import inspect
from pageinspect.target.open import Target, open_target

PAGE = diskdump.PAGE
HEADERS = 4 * PAGE
"""Bytes at the beginning that hold headers and notes, in every form."""

_PRESENT, _LARGE = 1, 1 << 7
_FRAME = 0x000FFFFFFFFFF000
_OBJECTS = (
    "kallsyms_names",
    "kallsyms_num_syms",
    "kallsyms_token_table",
    "mem_section",
    "node_data",
    "max_pfn",
    "__cpu_possible_mask",
    "vmemmap_base",
)

_OBJECT_USES = ("slab", "large_kmalloc", "table", "kernel")


@dataclass(frozen=True, slots=True)
class Form:
    """A core of one form, its bytes in memory, and (offset, length) of the pages that matter.

    `objects` has the same of the pages in which the kernel has its objects, by pfn.
    """

    name: str
    data: bytes
    pages: tuple[tuple[int, int], ...]
    objects: tuple[tuple[int, int], ...]


def _tables(prog: Program, top: int, address: int) -> Iterator[int]:
    """Yield the pfns of the page tables that translate `address`, and of its page."""
    table = top
    for shift in (39, 30, 21, 12):
        yield table // PAGE
        index = address >> shift & 511
        (entry,) = struct.unpack("<Q", prog.read(table + 8 * index, 8, physical=True))
        if not entry & _PRESENT:
            return
        table = entry & _FRAME
        if entry & _LARGE and shift > 12:
            table += address & ((1 << shift) - PAGE)
            break
    yield table // PAGE


def _top(info: Mapping[str, str]) -> int:
    """Return the physical address of the kernel's page tables."""
    top = int(info["SYMBOL(swapper_pg_dir)"], 16)
    return top - 0xFFFFFFFF80000000 + int(info["NUMBER(phys_base)"])


def physical(target: Target, address: int) -> int:
    """Return the physical address of a virtual one that is mapped."""
    *_, pfn = _tables(target.prog, _top(target.vmcoreinfo), address)
    return pfn * PAGE + address % PAGE


def pfns_that_matter(core: Path) -> list[int]:
    """Return the pfns that an answer hangs on: page tables, struct pages, BTF, symbols, zones."""
    opened = inspect(open_target(core))
    prog, layout = opened.target.prog, opened.layout
    top = _top(opened.target.vmcoreinfo)
    addresses = [layout.vmemmap + PAGE * i for i in range(0, 512, 8)]
    addresses += [prog.symbol(name).address for name in _OBJECTS]
    btf = prog.symbol("__start_BTF").address
    size = prog.symbol("__stop_BTF").address - btf
    addresses += [btf + size * i // 16 for i in range(16)]
    node = prog["node_data"][0]
    addresses += [node.value_() + PAGE * i for i in range(3)]
    root = prog["mem_section"].read_()
    addresses += [root.value_(), root[0].value_()]
    return sorted({pfn for address in addresses for pfn in _tables(prog, top, address)})


def pfns_of_objects(core: Path) -> list[int]:
    """Return the pfns of slabs, page tables, stacks and what else the kernel allocated."""
    with open_core(core) as opened:
        runs = opened.list(use=_OBJECT_USES).to_dict()["runs"]
    return [pfn for run in runs for pfn in range(run["start"], run["end"])]


def make_forms(core: Path, work: Path) -> list[Form]:
    """Return the core as it is, in the kdump format and flattened; files are made in `work`."""
    pfns, objects = pfns_that_matter(core), pfns_of_objects(core)
    kdump, flattened = work / "kdump", work / "flattened"
    in_kdump = diskdump.write_kdump(core, kdump)
    diskdump.write_flattened(kdump, flattened)
    in_elf = diskdump.places(core.read_bytes())

    def in_flattened(pfn: int) -> tuple[int, int]:
        offset, length = in_kdump[pfn]
        return diskdump.flattened_offset(offset), length

    def form(name: str, file: Path, where: Callable[[int], tuple[int, int]]) -> Form:
        return Form(name, file.read_bytes(), tuple(map(where, pfns)), tuple(map(where, objects)))

    return [
        form("elf", core, lambda pfn: (in_elf[pfn], PAGE)),
        form("kdump", kdump, in_kdump.__getitem__),
        form("flattened", flattened, in_flattened),
    ]
