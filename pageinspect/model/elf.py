"""Headers of 64-bit little-endian ELF files: their one description, and a reader without numpy."""

import struct
from collections.abc import Callable
from typing import NamedTuple

MAGIC = b"\x7fELF"
LOAD, NOTE = 1, 4
"""Types of segments: p_type."""

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
"""e_ident, e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize,
e_phnum, e_shentsize, e_shnum, e_shstrndx."""


class ProgramHeader(NamedTuple):
    """A segment: bytes of the file (p_offset, p_filesz), and where they are in memory."""

    type: int
    flags: int
    offset: int
    virtual: int
    physical: int
    held: int
    size: int
    align: int


PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
"""The fields of ProgramHeader."""


def program_headers(read: Callable[[int, int], bytes], most: int) -> list[ProgramHeader]:
    """Return the first `most` program headers of a file whose bytes read(size, offset) returns.

    Raises ValueError for what is not an ELF file, or is cut off.
    """
    start = read(HEADER.size, 0)
    if len(start) < HEADER.size or not start.startswith(MAGIC):
        raise ValueError("is not an ELF file")
    _, _, _, _, _, offset, _, _, _, width, count, *_ = HEADER.unpack(start)
    wanted = min(count, most) * PROGRAM_HEADER.size
    table = read(wanted, offset) if offset < 1 << 63 else b""
    if width != PROGRAM_HEADER.size or len(table) < wanted:
        raise ValueError("has headers that are cut off, or make no sense")
    return [ProgramHeader(*fields) for fields in PROGRAM_HEADER.iter_unpack(table)]
