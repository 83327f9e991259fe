# SPDX-License-Identifier: GPL-2.0-only
"""Values in words of struct page that are the same in all supported kernels."""

from typing import Final

MAPPING_ANON: Final = 1
"""The low two bits of mapping: MAPPING_ANON and so on in the kernel; 0 is a file."""
MAPPING_MOVABLE: Final = 2
MAPPING_KSM: Final = 3

PAGE_POOL_SIGNATURE: Final = 0xDEAD000000000040
"""PP_SIGNATURE: 0x40 + POISON_POINTER_DELTA, in the word that other pages use for lru."""


def page_pool_mask(*, indexed: bool) -> int:
    """Return the bits of the word that are the signature: not the two lowest.

    Since Linux kernel commit ee62ce7a1d90 ("page_pool: Track DMA-mapped pages and unmap them when
    destroying the pool") (in v6.16, and in stable releases), 32 bits from bit 7 up are an index.
    """
    return 0xFFFFFFFFFFFFFFFC & ~(((1 << 32) - 1) << 7 if indexed else 0)
