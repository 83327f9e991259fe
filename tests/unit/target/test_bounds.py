"""What a core claims of memory sections, bounded by what it can hold."""

from pathlib import Path

import numpy as np
import pytest
from drgn import Architecture, FaultError, Platform, Program
from synthetic import MODERN, VMEMMAP

from pageinspect.errors import PageInspectError
from pageinspect.kernel.online import check_sections, most_sections
from pageinspect.model.arch import SECTION_PFNS
from pageinspect.target.vmcoreinfo import check_roots, sections
from pageinspect.vmemmap.reader import walk

SPAN = [(0, SECTION_PFNS)]


class Tables:
    """Stands for page tables that map some pages of the vmemmap."""

    def __init__(self, mapped: list[range], *, readable: bool = True) -> None:
        self.mapped = mapped
        self.readable = readable

    def frames(self, first: int, end: int) -> np.ndarray:
        if not self.readable:
            raise FaultError("no table", 0)
        pages = np.arange(first, end) - VMEMMAP // 4096
        there = np.logical_or.reduce([(pages >= r.start) & (pages < r.stop) for r in self.mapped])
        return np.where(there, 4096 * pages, -1)


def memory(there: list[range]) -> tuple[Program, list[int]]:
    """Return a Program with pages of the vmemmap, and where it was asked to read."""
    prog, asked = Program(Platform(Architecture.X86_64)), []

    def read(address: int, count: int, _offset: int, _physical: bool) -> bytes:
        asked.append(address)
        first, last = (at // 4096 - VMEMMAP // 4096 for at in (address, address + count - 1))
        if not any(r.start <= first and last < r.stop for r in there):
            raise FaultError("a hole", address)
        return bytes([7]) * count

    prog.add_memory_segment(VMEMMAP, 2 << 20, read)
    return prog, asked


@pytest.mark.parametrize(
    "there",
    [[range(0)], [range(3, 100)], [range(7), range(9, 11), range(400, 512)], [range(512)]],
)
def test_what_page_tables_do_not_map_is_not_looked_for(there: list[range]) -> None:
    found = []
    for tables in (None, Tables(there), Tables(there, readable=False)):
        prog, asked = memory(there)
        (batch,) = walk(prog, MODERN, SPAN, SPAN, tables=tables)  # type: ignore[arg-type]
        readable = None if batch.readable is None else batch.readable.tolist()
        found.append((batch.words.tobytes(), readable, len(asked)))
    assert found[0][:2] == found[1][:2] == found[2][:2]
    assert found[1][2] <= 1 + len(there)
    assert found[0][2] == found[2][2]


def test_a_part_of_mem_section_is_a_place_of_its_own() -> None:
    check_roots(np.array([0, 0, 4096, 8192, 0], np.uint64))
    with pytest.raises(PageInspectError, match="in one and the same place"):
        check_roots(np.array([0, 4096, 8192, 4096], np.uint64))


def test_a_core_has_a_page_for_each_section(tmp_path: Path) -> None:
    core = tmp_path / "core"
    core.write_bytes(bytes(3 * 4096 + 1))
    most = most_sections(core)
    check_sections(3, most)
    check_sections(1 << 25, None)
    with pytest.raises(PageInspectError, match=r"claims 4 memory sections, .* has room for 3"):
        check_sections(4, most)


def test_a_length_of_mem_section_that_cannot_be() -> None:
    info = {
        "PAGESIZE": "4096",
        "SIZE(mem_section)": "16",
        "OFFSET(mem_section.section_mem_map)": "0",
        "LENGTH(mem_section)": "9999999",
        "SYMBOL(mem_section)": "1000",
    }
    with pytest.raises(PageInspectError, match="9999999 parts of mem_section"):
        sections(Program(Platform(Architecture.X86_64)), info)
