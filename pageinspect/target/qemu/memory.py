# SPDX-License-Identifier: GPL-2.0-only
"""Reads a guest's memory through its monitor, where the memory of the QEMU process is not readable.

QEMU's dump-guest-memory writes any part of the guest's memory as a small ELF core to a descriptor,
much faster than `xp` prints it. QEMU stops a running guest for each dump, for milliseconds.
"""

import os
import time

from drgn import FaultError

from ...errors import PageInspectError
from ...model import elf
from ..core_formats.elf import notes
from .monitor import Monitor, RefusedError

BLOCK = 2 << 20
"""Bytes per request."""

_CACHE_LIFETIME_S = 1.0
"""Seconds that memory of a running guest is cached."""

_NAME = "pageinspect-memory"

_MAX_OVERHEAD = 16 << 20
"""Bytes of a core other than memory, at most: QEMU writes about 1 KiB for each CPU."""

_MAX_SEGMENTS = 64
"""A block has one segment for each piece of RAM: three in the first block (BIOS), else one."""


class MonitorMemory:
    """A memory reader for drgn. With `paused` the guest is paused: each block is read once."""

    def __init__(self, monitor: Monitor, *, paused: bool) -> None:
        self._monitor = monitor
        self._paused = paused
        self._blocks: dict[int, tuple[float, list[tuple[int, bytes]]]] = {}

    def read(self, address: int, count: int, _offset: int, _physical: bool) -> bytes:  # noqa: FBT001 - drgn's
        """Return the bytes at a physical address. Raises FaultError where the guest has no RAM."""
        data = bytearray()
        while len(data) < count:
            at = address + len(data)
            data += self._piece(at, min(count - len(data), BLOCK - at % BLOCK))
        return bytes(data)

    def _piece(self, address: int, count: int) -> bytes:
        """Return bytes within one block."""
        for start, data in self._block(address - address % BLOCK):
            if start <= address and address + count <= start + len(data):
                return data[address - start : address - start + count]
        raise FaultError("the guest has no memory there", address)

    def _block(self, start: int) -> list[tuple[int, bytes]]:
        now = time.monotonic()
        read_at, pieces = self._blocks.get(start, (0.0, []))
        if read_at and (self._paused or now - read_at < _CACHE_LIFETIME_S):
            return pieces
        if not self._paused:
            self._blocks = {s: b for s, b in self._blocks.items() if now - b[0] < _CACHE_LIFETIME_S}
        pieces = self._dump(start)
        self._blocks[start] = (now, pieces)
        return pieces

    def _dump(self, start: int) -> list[tuple[int, bytes]]:
        """Return (address, bytes) of each piece of RAM in a block."""
        try:
            core = dump(self._monitor, start, BLOCK)
        except RefusedError:
            return []
        pieces, room = [], BLOCK
        for part in _segments(core):
            if part.type == elf.LOAD and part.held <= room:
                room -= part.held
                pieces.append((part.physical, core[part.offset : part.offset + part.held]))
        return pieces


def read_vmcoreinfo(monitor: Monitor) -> str:
    """Return the VMCOREINFO text that the guest has passed to QEMU; "" if it has passed none."""
    try:
        # Every x86 machine has RAM at 0.
        core = dump(monitor, 0, 1)
    except RefusedError:
        return ""
    parts = (part for part in _segments(core) if part.type == elf.NOTE)
    data = next((core[part.offset : part.offset + part.held] for part in parts), b"")
    texts = (text for name, _, text in notes(data) if name == b"VMCOREINFO")
    return next(texts, b"").rstrip(b"\0").decode("ascii", "replace")


def dump(monitor: Monitor, start: int, length: int) -> bytes:
    """Return an ELF core of `length` bytes of guest memory from `start`. Raises RefusedError."""
    file = os.memfd_create(_NAME)
    try:
        monitor.execute("getfd", {"fdname": _NAME}, descriptor=file)
        part = {"begin": start, "length": length}
        try:
            monitor.execute(
                "dump-guest-memory", {"paging": False, "protocol": f"fd:{_NAME}", **part}
            )
        except RefusedError:
            # QEMU keeps the descriptor open if the dump failed.
            monitor.execute("closefd", {"fdname": _NAME})
            raise
        return os.pread(file, min(os.fstat(file).st_size, length + _MAX_OVERHEAD), 0)
    finally:
        os.close(file)


def _segments(core: bytes) -> list[elf.ProgramHeader]:
    """Return the program headers of a core. Raises PageInspectError if they are not QEMU's."""
    try:
        return elf.program_headers(lambda size, at: core[at : at + size], _MAX_SEGMENTS)
    except ValueError:
        raise PageInspectError(
            "the monitor does not answer dump-guest-memory as QEMU does", "is it QEMU's?"
        ) from None
