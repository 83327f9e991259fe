# SPDX-License-Identifier: GPL-2.0-only
"""Headers of 64-bit little-endian ELF files, and a reader that does not need numpy."""

import struct
import sys
from collections.abc import Callable
from typing import NamedTuple

MAGIC = b"\x7fELF"
LOAD, NOTE = 1, 4
"""p_type: PT_LOAD, PT_NOTE."""

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
"""e_ident, e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize,
e_phnum, e_shentsize, e_shnum, e_shstrndx."""


class ProgramHeader(NamedTuple):
    """Elf64_Phdr. `virtual` is p_vaddr, `physical` p_paddr, `held` p_filesz, `size` p_memsz."""

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
    """Return the first `most` program headers of a file; read(size, offset) returns its bytes.

    Raises ValueError if it is not an ELF file, or is cut off.
    """
    start = read(HEADER.size, 0)
    if len(start) < HEADER.size or not start.startswith(MAGIC):
        raise ValueError("is not an ELF file")
    _, _, _, _, _, offset, _, _, _, width, count, *_ = HEADER.unpack(start)
    wanted = min(count, most) * PROGRAM_HEADER.size
    table = read(wanted, offset) if offset <= sys.maxsize else b""
    if width != PROGRAM_HEADER.size or len(table) < wanted:
        raise ValueError("has headers that are cut off or invalid")
    return [ProgramHeader(*fields) for fields in PROGRAM_HEADER.iter_unpack(table)]
