"""What readers of the kernel's structures share.

A reader raises MissingStructureError, and no other error, where this kernel has no such structure:
the variable or the type is not there. Memory that cannot be read is caught and counted.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
from drgn import FaultError, Object, Program

from ..errors import PageInspectError
from ..model.arch import LARGE_PAGE_SIZE, PAGE_SHIFT, PAGE_SIZE
from ..model.kernel_memory import Pfns, no_pfns
from ..target.page_tables import PageTables

_PER_LEAF = LARGE_PAGE_SIZE // PAGE_SIZE


class MissingStructureError(PageInspectError):
    """A kernel without the structure that was to be read."""


@contextlib.contextmanager
def needed(structure: str) -> Iterator[None]:
    """Raise MissingStructureError where a variable, a type or a member is not there."""
    try:
        yield
    except (LookupError, AttributeError) as error:
        raise MissingStructureError(
            f"this kernel has no {structure} that is known here: {error.args[0]}",
            "it is of another version, or its types or symbols lack it; -s VMLINUX may have it",
        ) from None


def moved(address: int, by: int) -> int:
    """Return an address so many bytes away, in 64 bits: what was read may be anything."""
    return (address + by) % (1 << 64)


def text_at(prog: Program, address: int, most: int) -> str:
    """Return the string at an address, at most so many bytes of it. Raises FaultError."""
    return prog.read_c_string(address, max_size=most).decode("utf-8", "replace")


class ListWalk:
    """Follows lists of struct list_head, each node once, all of them at most `most` steps."""

    def __init__(self, prog: Program, most: int) -> None:
        self._prog = prog
        self._left = most
        self.whole = True

    def nodes(self, head: int) -> Iterator[int]:
        """Yield the addresses of the nodes of the list with this head."""
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


def value_of(prog: Program, variable: str) -> int:
    """Return a number; raises LookupError where there is no such variable, and FaultError."""
    number: Object = prog[variable]
    return int(number.value_())


def pfns_of(tables: PageTables, pages: Pfns) -> tuple[Pfns, int]:
    """Return the pfns behind pages of virtual memory, sorted, each once, and how many have none.

    Pages are numbered by their address.
    """
    if not len(pages):
        return no_pfns(), 0
    pages = np.unique(pages)
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
    return np.unique(np.concatenate([no_pfns(), *found])), unreadable
