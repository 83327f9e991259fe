# SPDX-License-Identifier: GPL-2.0-only
"""ELF cores made by hand, and the layout of their headers."""

import struct
import subprocess
import sys

from pageinspect.model.elf import HEADER, LOAD, NOTE, PROGRAM_HEADER
from pageinspect.target.core_formats.limits import MAX_VMCOREINFO

VMCOREINFO = b"""OSRELEASE=6.12.0
PAGESIZE=4096
SYMBOL(_stext)=ffffffff81000000
SYMBOL(swapper_pg_dir)=ffffffff82000000
KERNELOFFSET=0
NUMBER(VA_BITS)=48
NUMBER(TCR_EL1_T1SZ)=0x10
NUMBER(kimage_voffset)=0xffff800070000000
"""
LONG_VMCOREINFO = b"OSRELEASE=6.12.0\nPAGESIZE=4096\n" + b"X=1\n" * (MAX_VMCOREINFO // 4)
"""Longer than it may be."""
X86_64, I386, AARCH64 = 62, 3, 183
CORE = 4
_HEADER_32 = struct.Struct("<16sHHIIIIIHHHHHH")
_SEGMENT_32 = struct.Struct("<IIIIIIII")


def note(name: bytes, text: bytes, kind: int = 0) -> bytes:
    padded = [part + bytes(-len(part) % 4) for part in (name + b"\0", text)]
    return struct.pack("<III", len(name) + 1, len(text), kind) + b"".join(padded)


def segment(
    kind: int, offset: int, physical: int, held: int, size: int | None = None, virtual: int = 0
) -> bytes:
    """Return a program header for `held` bytes of the file, and `size` bytes of memory."""
    size = held if size is None else size
    return PROGRAM_HEADER.pack(kind, 7, offset, virtual, physical, held, size, 4)


def elf(*segments: bytes, machine: int = X86_64, flags: int = 0) -> bytes:
    """Return the header of a core, and these program headers behind it."""
    sizes = (HEADER.size, PROGRAM_HEADER.size, len(segments), 0, 0, 0)
    ident = b"\x7fELF\2\1\1"
    header = HEADER.pack(ident, CORE, machine, 1, 0, HEADER.size, 0, flags, *sizes)
    return header + b"".join(segments)


def elf_core(
    machine: int, *, bits: int = 64, kernel: bool = True, vmcoreinfo: bytes = VMCOREINFO
) -> bytes:
    """Return an ELF core with one page of memory, and VMCOREINFO when it is a kernel's."""
    notes = note(b"VMCOREINFO", vmcoreinfo) if kernel else note(b"CORE", bytes(336))
    if bits == 64:
        at = HEADER.size + 2 * PROGRAM_HEADER.size
        of_notes = segment(NOTE, at, 0, len(notes))
        out = elf(of_notes, segment(LOAD, 4096, 0, 4096), machine=machine)
    else:
        at = _HEADER_32.size + 2 * _SEGMENT_32.size
        sizes = (_HEADER_32.size, _SEGMENT_32.size, 2, 0, 0, 0)
        out = _HEADER_32.pack(b"\x7fELF\1\1\1", CORE, machine, 1, 0, _HEADER_32.size, 0, 0, *sizes)
        out += _SEGMENT_32.pack(NOTE, at, 0, 0, len(notes), len(notes), 0, 4)
        out += _SEGMENT_32.pack(LOAD, 4096, 0, 4096, 4096, 4096, 7, 4096)
    return (out + notes).ljust(8192, b"\0")


def refused(*args: object) -> tuple[str, str]:
    """Return the message and the hint with which `types` refuses a core."""
    command = [sys.executable, "-m", "pageinspect", "types", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    message, hint = done.stderr.splitlines()
    assert message.startswith("pageinspect: error: ")
    assert hint.startswith("  hint: ")
    return message, hint
