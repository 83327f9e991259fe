"""How long a core says that its notes are, before drgn reads them whole and copies them."""

import struct
from typing import IO

from ..guard import paced
from ..units import number, size
from ..vmcoreinfo import MOST_BYTES

_MOST_NOTES = 32 << 20
"""Bytes of all notes: those of a CPU take less than a KiB."""

_ELF = b"\x7fELF\x02\x01"
_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_PT_NOTE = 4
_NOTE = struct.Struct("<III")
_NAME = b"VMCOREINFO"

_KDUMP = b"KDUMP   "
_BLOCK_SIZE_AT, _LEAST_BLOCK = 428, 512
_SIZES = struct.Struct("<40xQ8xQ8xQ")
"""In struct kdump_sub_header: of VMCOREINFO, of all notes, of what was erased."""


def too_long(core: IO[bytes]) -> str | None:
    """Return what of a core's notes is longer than it can be, as words; None for nothing."""
    core.seek(0)
    start = core.read(_ELF_HEADER.size)
    if start.startswith(_ELF) and len(start) == _ELF_HEADER.size:
        return _elf(core, start)
    if start.startswith(_KDUMP):
        return _kdump(core)
    return None


def _complaint(vmcoreinfo: int, notes: int) -> str | None:
    if vmcoreinfo > MOST_BYTES:
        return f"a VMCOREINFO of {number(vmcoreinfo)} bytes, more than {size(MOST_BYTES)}"
    if notes > _MOST_NOTES:
        return f"notes of {number(notes)} bytes, more than {size(_MOST_NOTES)}"
    return None


def _kdump(core: IO[bytes]) -> str | None:
    core.seek(_BLOCK_SIZE_AT)
    block = int.from_bytes(core.read(4), "little")
    if block < _LEAST_BLOCK:
        return None
    # The sub header is the second block.
    core.seek(block)
    vmcoreinfo, notes, erased = _SIZES.unpack(core.read(_SIZES.size).ljust(_SIZES.size, b"\0"))
    return _complaint(vmcoreinfo, max(notes, erased))


def _elf(core: IO[bytes], start: bytes) -> str | None:
    _, _, _, _, _, table, _, _, _, width, count, *_ = _ELF_HEADER.unpack(start)
    if width != _SEGMENT.size or table >= 1 << 63:
        return None
    core.seek(table)
    entries = core.read(width * count)
    total = 0
    for kind, _, offset, _, _, held, _, _ in _SEGMENT.iter_unpack(
        entries[: len(entries) // width * width]
    ):
        if kind == _PT_NOTE and offset < 1 << 63:
            total += held
            complaint = _complaint(0, total) or _complaint(_vmcoreinfo(core, offset, held), 0)
            if complaint:
                return complaint
    return None


def _vmcoreinfo(core: IO[bytes], at: int, length: int) -> int:
    """Return the size of VMCOREINFO in a segment of notes, 0 where it has none."""
    end, largest = at + length, 0
    for _ in paced(range(length // _NOTE.size), 1 << 16):
        core.seek(at)
        header = core.read(_NOTE.size)
        if at >= end or len(header) < _NOTE.size:
            break
        name_size, desc_size, _ = _NOTE.unpack(header)
        if core.read(len(_NAME)) == _NAME:
            largest = max(largest, desc_size)
        at += _NOTE.size + -(-name_size // 4) * 4 + -(-desc_size // 4) * 4
    return largest
