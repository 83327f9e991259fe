# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's table of gfp flags, made by hand."""

from kernel_by_hand import Kernel

from pageinspect.kernel.gfp_flags import read_gfp_names
from pageinspect.model.gfp import GfpNames


def kernel(*rows: tuple[int, int], end: bool = True) -> Kernel:
    """Return a kernel whose table has rows of (mask, address of the name)."""
    made = Kernel()
    row = made.struct("trace_print_flags", mask=made.ulong, name=made.void_p)
    words = [word for pair in (*rows, *([(0, 0)] if end else [])) for word in pair]
    made.variable("gfpflag_names", made.array(row, 1), at=made.words(*words))
    return made


def test_the_table_ends_at_a_row_without_a_name() -> None:
    made = kernel()
    sets, flag, beyond = (made.text(t) for t in ("GFP_KERNEL", "__GFP_IO", "beyond"))
    rows = made.words(0xCC0, sets, 0x40, flag, 0, 0, 0x80, beyond)
    made.variable("gfpflag_names", made.prog["gfpflag_names"].type_, at=rows)
    assert read_gfp_names(made.prog).names == ((0xCC0, "GFP_KERNEL"), (0x40, "__GFP_IO"))


def test_a_kernel_without_the_table_has_no_names() -> None:
    assert read_gfp_names(Kernel().prog) == GfpNames()


def test_a_name_that_cannot_be_read_leaves_none() -> None:
    assert read_gfp_names(kernel((0x40, 0xFFFF_F000_0000_0000)).prog) == GfpNames()
    assert read_gfp_names(kernel((0x40, 8)).prog) == GfpNames()


def test_a_table_without_an_end_and_long_names_are_bounded() -> None:
    made = kernel()
    name = made.text("n" * 100)
    rows = made.words(*[word for _ in range(100) for word in (0x40, name)])
    made.variable("gfpflag_names", made.prog["gfpflag_names"].type_, at=rows)
    names = read_gfp_names(made.prog).names
    assert len(names) == 64
    assert {len(text) for _, text in names} == {32}
