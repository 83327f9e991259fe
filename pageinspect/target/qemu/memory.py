"""Reads a guest's memory through its monitor alone, for who may not look into QEMU's.

QEMU writes any part of a guest's memory as a small ELF core to a file that it is given, much faster
than it prints it (`xp`). A guest that runs is stopped for the milliseconds that this takes.
"""

import os
import struct
import time
from collections.abc import Iterator

from drgn import FaultError

from ...errors import PageInspectError
from .monitor import Monitor, RefusedError

BLOCK = 2 << 20
"""Bytes that are asked for at once."""

_LASTS_S = 1.0
"""Seconds for which what was read of a guest that runs is taken to be so."""

_NAME = "pageinspect-memory"
_PT_LOAD, _PT_NOTE = 1, 4

_MOST_BESIDES = 16 << 20
"""Bytes that a core may have besides memory: QEMU writes a KiB for each CPU."""

_MOST_SEGMENTS = 64
"""A block has one for each piece of RAM in it: three in the first, which has the BIOS, else one."""


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
        """Return (address, bytes) of each piece of RAM in a block."""
        try:
            elf = dump(self._monitor, start, BLOCK)
        except RefusedError:
            return []
        pieces, room = [], BLOCK
        for kind, physical, offset, length in _segments(elf):
            if kind == _PT_LOAD and length <= room:
                room -= length
                pieces.append((physical, elf[offset : offset + length]))
        return pieces


def read_vmcoreinfo(monitor: Monitor) -> str:
    """Return the lines of VMCOREINFO that the guest has given to QEMU; "" when it has not."""
    try:
        # Every x86 machine has RAM at 0.
        elf = dump(monitor, 0, 1)
    except RefusedError:
        return ""
    notes = (segment for segment in _segments(elf) if segment[0] == _PT_NOTE)
    _, _, at, length = next(notes, (0, 0, 0, 0))
    end = min(at + length, len(elf))
    while at + 12 <= end:
        name_size, size, _ = struct.unpack_from("<III", elf, at)
        content = at + 12 + -(-name_size // 4) * 4
        if elf[at + 12 : at + 12 + name_size] == b"VMCOREINFO\0":
            return elf[content : content + size].rstrip(b"\0").decode("ascii", "replace")
        at = content + -(-size // 4) * 4
    return ""


def dump(monitor: Monitor, start: int, length: int) -> bytes:
    """Return a core of a part of a guest's memory, as QEMU writes it. Raises RefusedError."""
    file = os.memfd_create(_NAME)
    try:
        monitor.execute("getfd", {"fdname": _NAME}, descriptor=file)
        part = {"begin": start, "length": length}
        try:
            monitor.execute(
                "dump-guest-memory", {"paging": False, "protocol": f"fd:{_NAME}", **part}
            )
        except RefusedError:
            # QEMU keeps a descriptor that it did not use.
            monitor.execute("closefd", {"fdname": _NAME})
            raise
        return os.pread(file, min(os.fstat(file).st_size, length + _MOST_BESIDES), 0)
    finally:
        os.close(file)


def _segments(elf: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (type, physical address, offset, length) of each segment of an ELF core.

    Raises PageInspectError for what QEMU does not write.
    """
    try:
        (table,) = struct.unpack_from("<Q", elf, 32)
        size, count = struct.unpack_from("<HH", elf, 54)
        for i in range(min(count, _MOST_SEGMENTS)):
            kind, _, offset, _, physical, length = struct.unpack_from(
                "<IIQQQQ", elf, table + size * i
            )
            yield kind, physical, offset, length
    except (struct.error, OverflowError):
        raise PageInspectError(
            "the monitor does not answer dump-guest-memory as QEMU does", "is it QEMU's?"
        ) from None
