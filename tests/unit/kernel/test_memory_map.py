# SPDX-License-Identifier: GPL-2.0-only
"""The memory map where VMCOREINFO alone is known."""

from synthetic import VMEMMAP
from vmcoreinfo_texts import PRESENT, program_with_sections, vmcoreinfo_of

from pageinspect.kernel.memory_map import read_memory_map
from pageinspect.layout import build_layout


def test_sections_without_struct_pages_in_use_are_not_spanned() -> None:
    info = vmcoreinfo_of("7.x")
    # Present, but offline before it ever had a memmap; none at all; and offline.
    maps = {0: VMEMMAP | 15, 1: PRESENT, 2: 0, 3: VMEMMAP | 7, 4: VMEMMAP | 3}
    maps |= {255: VMEMMAP | 7, 600: VMEMMAP | 7}
    prog = program_with_sections(info, maps)
    memory_map = read_memory_map(prog, build_layout(prog, info), info)
    assert memory_map.spanned == (
        (0, 0x8000),
        (0x18000, 0x20000),
        (255 * 0x8000, 256 * 0x8000),
        (600 * 0x8000, 601 * 0x8000),
    )
    assert (memory_map.zones, len(memory_map.pcp.pfns)) == ((), 0)
