# SPDX-License-Identifier: GPL-2.0-only
"""Unmaps pages of a core that libkdumpfile has mapped, during a walk.

libkdumpfile reads compressed dumps through up to 16 mappings of 4 MiB. Touched pages are page
cache, but count as memory of this process (RSS) while they are mapped. Unmapping them is cheap: a
later read finds them in the page cache.
"""

import mmap
import os
from pathlib import Path

_EVERY = 32 << 20
"""Bytes of memory read between two calls of madvise(); the file usually has fewer, compressed."""
_READ_ONLY_AND_SHARED = b"r--s"


class KdumpfileMappings:
    """libkdumpfile's mappings of the file `core`, a path as in /proc/self/maps."""

    def __init__(self, core: Path) -> None:
        self._core = os.fsencode(core)
        self._since = 0
        self._any = True

    def note_read(self, size: int) -> None:
        """Note that `size` bytes of memory were read and processed."""
        self._since += size
        if self._any and self._since >= _EVERY:
            self._since = 0
            # A plain ELF core has no such mappings: do not look again.
            self._any = self._drop_cached_pages()

    def _drop_cached_pages(self) -> bool:
        """Unmap the pages of all mappings, and return whether there are any mappings."""
        import ctypes

        madvise, found = ctypes.CDLL(None).madvise, False
        # A path may contain any bytes: the kernel escapes only line feeds.
        for line in Path("/proc/self/maps").read_bytes().removesuffix(b"\n").split(b"\n"):
            place, rights, _, _, _, *path = line.split(maxsplit=5)
            if path == [self._core] and rights == _READ_ONLY_AND_SHARED:
                start, end = (int(address, 16) for address in place.split(b"-"))
                madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)
                found = True
        return found
