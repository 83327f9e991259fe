# SPDX-License-Identifier: GPL-2.0-only
"""Reads many 64-bit words of kernel memory that are near each other."""

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ..host.progress import paced
from ..model.arch import ADDRESSES_OF_KERNEL, PAGE_SHIFT, PAGE_SIZE
from ..model.batch import Words

Mask = npt.NDArray[np.bool_]

_PAGES_AT_ONCE = 64
_WORD = 8


def gather_words(prog: Program, addresses: Words) -> tuple[Words, Mask]:
    """Return the words at kernel addresses, in any order, and which of them could be read.

    Addresses are rounded down to multiples of 8. A word that cannot be read is 0. Each page of
    memory is read once, and neighbouring pages together.
    """
    values, readable = np.zeros(len(addresses), np.uint64), np.zeros(len(addresses), np.bool_)
    order = np.argsort(addresses, kind="stable")
    order = order[addresses[order] >= np.uint64(ADDRESSES_OF_KERNEL)]
    if not len(order):
        return values, readable
    places = addresses[order]
    pages = places >> np.uint64(PAGE_SHIFT)
    blocks = pages // np.uint64(_PAGES_AT_ONCE)
    cuts = np.flatnonzero((np.diff(pages) > 1) | (np.diff(blocks) > 0)) + 1
    for part in paced(np.split(np.arange(len(order)), cuts), 64):
        read = _read_pages(prog, int(pages[part[0]]), int(pages[part[-1]]) + 1)
        for first, end, data in read:
            start, stop = np.searchsorted(pages, np.array([first, end], np.uint64))
            inside = places[start:stop] - np.uint64(first << PAGE_SHIFT)
            found = np.frombuffer(data, np.uint64)[(inside // np.uint64(_WORD)).astype(np.intp)]
            values[order[start:stop]], readable[order[start:stop]] = found, True
    return values, readable


def _read_pages(prog: Program, first: int, end: int) -> list[tuple[int, int, bytes]]:
    """Return (first, end, bytes) of the virtual pages that can be read, by their numbers."""
    try:
        size = (end - first) * PAGE_SIZE
        return [(first, end, prog.read(first << PAGE_SHIFT, size))]
    except FaultError:
        if end - first == 1:
            return []
        return [part for page in range(first, end) for part in _read_pages(prog, page, page + 1)]
