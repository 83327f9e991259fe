# SPDX-License-Identifier: GPL-2.0-only
"""Names of gfp flags, beside what kernels wrote into their logs."""

import pytest

from pageinspect.model.gfp import GfpNames

BITS = {
    name: 1 << bit
    for bit, name in {
        0: "DMA",
        1: "HIGHMEM",
        3: "MOVABLE",
        5: "HIGH",
        6: "IO",
        7: "FS",
        8: "ZERO",
        10: "DIRECT_RECLAIM",
        11: "KSWAPD_RECLAIM",
        13: "NOWARN",
        16: "NORETRY",
        18: "COMP",
        19: "NOMEMALLOC",
        20: "HARDWALL",
    }.items()
}
NAMES = GfpNames(
    (
        (0x100CCA, "GFP_HIGHUSER_MOVABLE"),
        (0x100CC0, "GFP_USER"),
        (0xCC0, "GFP_KERNEL"),
        (0x820, "GFP_ATOMIC"),
        (0, "__GFP_NOLOCKDEP"),
        *((mask, f"__GFP_{name}") for name, mask in BITS.items()),
    )
)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0x140DCA, "GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP"),
        (0x40CC0, "GFP_KERNEL|__GFP_COMP"),
        (0xCC0, "GFP_KERNEL"),
        (0x820, "GFP_ATOMIC"),
        (0x1000CC0, "GFP_KERNEL|0x1000000"),
        (0, "0x0"),
    ],
)
def test_flags_as_the_kernel_writes_them(flags: int, text: str) -> None:
    assert NAMES.text(flags) == text


def test_flags_without_names_are_a_number() -> None:
    assert GfpNames().text(0x140DCA) == "0x140dca"
