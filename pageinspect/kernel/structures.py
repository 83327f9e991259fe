# SPDX-License-Identifier: GPL-2.0-only
"""Helpers for readers of kernel structures.

A reader raises MissingStructureError if this kernel lacks a variable, type or member that it needs.
It raises no other errors: unreadable memory is counted.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
from drgn import FaultError, Object, Program

from ..errors import PageInspectError
from ..model.arch import ADDRESSES_OF_KERNEL, LARGE_PAGE_SIZE, PAGE_SHIFT, PAGE_SIZE
from ..model.kernel_memory import Pfns, no_pfns
from ..model.presence import each_once
from ..target.page_tables import PageTables

_PER_LEAF = LARGE_PAGE_SIZE // PAGE_SIZE


class MissingStructureError(PageInspectError):
    """A structure that was to be read is missing in this kernel."""


@contextlib.contextmanager
def require_structure(structure: str) -> Iterator[None]:
    """Raise MissingStructureError if a variable, type or member is missing."""
    try:
        yield
    except (LookupError, AttributeError) as error:
        raise MissingStructureError(
            f"this kernel has no known {structure}: {error.args[0]}",
            "its types or symbols lack it, or this kernel is not supported; try -s VMLINUX",
        ) from None


def add_offset(address: int, by: int) -> int:
    """Return address + by, modulo 2^64: values from damaged memory must not raise errors."""
    return (address + by) % (1 << 64)


def read_string(prog: Program, address: int, most: int) -> str:
    """Return the string at an address, of at most `most` bytes. Raises FaultError."""
    if address < ADDRESSES_OF_KERNEL:
        raise FaultError("not an address of the kernel", address)
    return prog.read_c_string(address, max_size=most).decode("utf-8", "replace")


class ListWalk:
    """Follows lists of struct list_head, with at most `most` nodes in all lists together."""

    def __init__(self, prog: Program, most: int) -> None:
        self._prog = prog
        self._left = most
        self.whole = True

    def nodes(self, head: int) -> Iterator[int]:
        """Yield the addresses of the nodes of a list, each once."""
        seen = {head}
        try:
            node = self._prog.read_u64(head)
            while node != head:
                if node in seen or not self._left:
                    self.whole = False
                    return
                self._left -= 1
                seen.add(node)
                yield node
                node = self._prog.read_u64(node)
        except FaultError:
            self.whole = False


def read_variable(prog: Program, variable: str) -> int:
    """Return the value of an integer variable; raises LookupError if missing, and FaultError."""
    number: Object = prog[variable]
    return int(number.value_())


def mapped_pfns(tables: PageTables, pages: Pfns) -> tuple[Pfns, int]:
    """Return the sorted distinct pfns of virtual page numbers, and the number of unmapped pages."""
    if not len(pages):
        return no_pfns(), 0
    pages = each_once(pages)
    cuts = np.flatnonzero(np.diff(pages // _PER_LEAF)) + 1
    found, unreadable = [], 0
    for part in np.split(pages, cuts):
        first = int(part[0])
        try:
            frames = tables.frames(first, int(part[-1]) + 1)[part - first]
        except FaultError:
            unreadable += len(part)
            continue
        mapped = frames[frames >= 0] >> PAGE_SHIFT
        unreadable += len(part) - len(mapped)
        found.append(mapped)
    return each_once(np.concatenate([no_pfns(), *found])), unreadable
