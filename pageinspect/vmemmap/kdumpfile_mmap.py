"""The parts of a core that libkdumpfile maps, given back while a walk goes on.

It reads compressed dumps through up to 16 windows of 4 MiB. What was touched in them is the
kernel's cache of the file, but counts as memory of this process as long as a window stays, and the
more there is to read, the more windows fill. Giving pages back loses nothing: who reads there again
finds them in the cache.
"""

import mmap
import os
from pathlib import Path

_EVERY = 32 << 20
"""Bytes of memory between two times of giving back, for which the file has fewer mostly."""
_READ_ONLY_AND_SHARED = b"r--s"


class KdumpfileMappings:
    """What is mapped of the file `core`, a path as /proc tells it."""

    def __init__(self, core: Path) -> None:
        self._core = os.fsencode(core)
        self._since = 0
        self._any = True

    def passed(self, size: int) -> None:
        """Note that `size` bytes of memory were read, and are done with."""
        self._since += size
        if self._any and self._since >= _EVERY:
            self._since = 0
            # Of a plain ELF core there are none.
            self._any = self._give_back()

    def _give_back(self) -> bool:
        """Give back what is in memory of all windows, and return whether there is any window."""
        import ctypes

        madvise, found = ctypes.CDLL(None).madvise, False
        # Paths are any bytes, of which the kernel escapes line feeds alone.
        for line in Path("/proc/self/maps").read_bytes().removesuffix(b"\n").split(b"\n"):
            place, rights, _, _, _, *path = line.split(maxsplit=5)
            if path == [self._core] and rights == _READ_ONLY_AND_SHARED:
                start, end = (int(address, 16) for address in place.split(b"-"))
                madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)
                found = True
        return found
