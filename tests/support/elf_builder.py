"""ELF cores made by hand."""

import struct
import subprocess
import sys

from pageinspect.target.core_formats.limits import MOST_VMCOREINFO

VMCOREINFO = b"""OSRELEASE=6.12.0
PAGESIZE=4096
SYMBOL(_stext)=ffffffff81000000
SYMBOL(swapper_pg_dir)=ffffffff82000000
KERNELOFFSET=0
NUMBER(VA_BITS)=48
NUMBER(TCR_EL1_T1SZ)=0x10
NUMBER(kimage_voffset)=0xffff800070000000
"""
LONG_VMCOREINFO = b"OSRELEASE=6.12.0\nPAGESIZE=4096\n" + b"X=1\n" * (MOST_VMCOREINFO // 4)
"""Longer than it may be."""
X86_64, I386, AARCH64 = 62, 3, 183


def note(name: bytes, text: bytes) -> bytes:
    padded = [part + bytes(-len(part) % 4) for part in (name + b"\0", text)]
    return struct.pack("<III", len(name) + 1, len(text), 0) + b"".join(padded)


def elf_core(
    machine: int, *, bits: int = 64, kernel: bool = True, vmcoreinfo: bytes = VMCOREINFO
) -> bytes:
    """Return an ELF core with one page of memory, and VMCOREINFO when it is a kernel's."""
    wide = bits == 64
    notes = note(b"VMCOREINFO", vmcoreinfo) if kernel else note(b"CORE", bytes(336))
    header = struct.Struct("<16sHHIQQQIHHHHHH" if wide else "<16sHHIIIIIHHHHHH")
    segment = struct.Struct("<IIQQQQQQ" if wide else "<IIIIIIII")
    at = header.size + 2 * segment.size
    ident = b"\x7fELF" + bytes((2 if wide else 1, 1, 1)) + bytes(9)
    sizes = (header.size, segment.size, 2, 0, 0, 0)
    out = header.pack(ident, 4, machine, 1, 0, header.size, 0, 0, *sizes)
    if wide:
        out += segment.pack(4, 0, at, 0, 0, len(notes), len(notes), 4)
        out += segment.pack(1, 7, 4096, 0, 0, 4096, 4096, 4096)
    else:
        out += segment.pack(4, at, 0, 0, len(notes), len(notes), 0, 4)
        out += segment.pack(1, 4096, 0, 0, 4096, 4096, 7, 4096)
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
