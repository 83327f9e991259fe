"""Reads a guest's memory through its monitor alone, for who may not look into QEMU's.

QEMU writes any part of a guest's memory as a small ELF core to a file that it is given, much faster
than it prints it (`xp`, which drgn would use). A guest that runs is stopped for the milliseconds
that this takes.
"""

import os
import struct
import time

from drgn import FaultError

from ..errors import PageInspectError
from .monitor import Monitor

BLOCK = 2 << 20
"""Bytes that are asked for at once."""

_LASTS_S = 1.0
"""Seconds for which what was read of a guest that runs is taken to be so."""

_NAME = "pageinspect-memory"
_PT_LOAD = 1


class MonitorMemory:
    """A memory reader for drgn. With `lasting`, what was read once does not change."""

    def __init__(self, monitor: Monitor, *, lasting: bool) -> None:
        self._monitor = monitor
        self._lasting = lasting
        self._blocks: dict[int, tuple[float, list[tuple[int, bytes]]]] = {}

    def read(self, address: int, count: int, _offset: int, _physical: bool) -> bytes:  # noqa: FBT001 - drgn's
        """Return the bytes at a physical address. Raises FaultError where the guest has no RAM."""
        data = bytearray()
        while len(data) < count:
            at = address + len(data)
            data += self._piece(at, min(count - len(data), BLOCK - at % BLOCK))
        return bytes(data)

    def _piece(self, address: int, count: int) -> bytes:
        """Return bytes that lie in one block."""
        for start, data in self._block(address - address % BLOCK):
            if start <= address and address + count <= start + len(data):
                return data[address - start : address - start + count]
        raise FaultError("the guest has no memory there", address)

    def _block(self, start: int) -> list[tuple[int, bytes]]:
        now = time.monotonic()
        read_at, pieces = self._blocks.get(start, (0.0, []))
        if read_at and (self._lasting or now - read_at < _LASTS_S):
            return pieces
        if not self._lasting:
            self._blocks = {s: b for s, b in self._blocks.items() if now - b[0] < _LASTS_S}
        pieces = self._dump(start)
        self._blocks[start] = (now, pieces)
        return pieces

    def _dump(self, start: int) -> list[tuple[int, bytes]]:
        """Have QEMU dump a block; return (address, bytes) of each piece of RAM in it."""
        file = os.memfd_create(_NAME)
        try:
            self._monitor.execute("getfd", descriptor=file, fdname=_NAME)
            try:
                self._monitor.execute(
                    "dump-guest-memory",
                    paging=False,
                    protocol=f"fd:{_NAME}",
                    begin=start,
                    length=BLOCK,
                )
            except PageInspectError:
                # QEMU keeps a descriptor that it did not use.
                self._monitor.execute("closefd", fdname=_NAME)
                return []
            return _loaded(os.pread(file, os.fstat(file).st_size, 0))
        finally:
            os.close(file)


def _loaded(elf: bytes) -> list[tuple[int, bytes]]:
    """Return (physical address, bytes) of each segment of an ELF core."""
    (table,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    pieces = []
    for i in range(count):
        kind, _, offset, _, physical, length = struct.unpack_from("<IIQQQQ", elf, table + size * i)
        if kind == _PT_LOAD:
            pieces.append((physical, elf[offset : offset + length]))
    return pieces
