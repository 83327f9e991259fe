# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's image, found by symbols made by hand."""

import pytest
from kernel_by_hand import Kernel

from pageinspect.kernel.kernel_image import read_kernel_image
from pageinspect.kernel.structures import MissingStructureError

IMAGE = 0xFFFFFFFF80000000
PHYS_BASE = {"NUMBER(phys_base)": str(0x2000000)}
SYMBOLS = {
    "_text": 0x1000000,
    "_etext": 0x1800123,
    "__start_rodata": 0x1A00000,
    "__end_rodata": 0x1B00000,
    "_sdata": 0x1C00000,
    "_edata": 0x1D00800,
    "__init_begin": 0x1D01000,
    "__init_end": 0x1E00000,
    "__bss_start": 0x1DFF800,
    "__bss_stop": 0x1F00000,
    "_end": 0x1F20000,
}


def kernel(symbols: dict[str, int]) -> Kernel:
    made = Kernel()
    made.symbols({name: (IMAGE + at, 0) for name, at in symbols.items()})
    return made


def test_sections_are_between_symbols() -> None:
    assert read_kernel_image(kernel(SYMBOLS).prog, PHYS_BASE).sections == (
        ("code", (0x3000, 0x3801)),
        ("rodata", (0x3A00, 0x3B00)),
        ("data", (0x3C00, 0x3D01)),
        ("init", (0x3D01, 0x3E00)),
        ("bss", (0x3E00, 0x3F00)),
        ("brk", (0x3F00, 0x3F20)),
    )


def test_sections_without_symbols_are_left_out() -> None:
    some = {name: SYMBOLS[name] for name in ("_text", "_etext", "_sdata")}
    some["_edata"] = some["_sdata"] - 1
    found = read_kernel_image(kernel(some).prog, PHYS_BASE)
    assert found.sections == (("code", (0x3000, 0x3801)),)


@pytest.mark.parametrize(("start", "end"), [(0x1000, 0x7FFFFFFF), (-0x1000, 0x1000)])
def test_symbols_outside_of_the_image_are_no_section(start: int, end: int) -> None:
    with pytest.raises(MissingStructureError, match="no symbols of its image"):
        read_kernel_image(kernel({"_text": start, "_etext": end}).prog, PHYS_BASE)


def test_the_physical_address_must_be_known() -> None:
    with pytest.raises(MissingStructureError, match="phys_base"):
        read_kernel_image(kernel(SYMBOLS).prog, {})
