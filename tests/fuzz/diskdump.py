# SPDX-License-Identifier: GPL-2.0-only
"""Writes an ELF core of a guest anew in the kdump format, and a kdump core in the flattened form.

Written by the formats' description (makedumpfile's IMPLEMENTATION and diskdump_mod.h), so that
there are files of these forms to damage wherever there is an ELF core.
"""

import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

PAGE = 4096
_ZLIB = 1
_HEADER = struct.Struct("<8si390s6xQQIiiIIIIIIi")
_SUB_HEADER = struct.Struct("<qii QQ QQ QQ QQ QQQ")
_DESCRIPTOR = struct.Struct("<QIIQ")
_FLAT = struct.Struct(">16sqq")
_FLAT_PIECE = 1 << 20
_PIECE = struct.Struct(">qq")
_PT_LOAD, _PT_NOTE = 1, 4


def _segments(elf: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (type, offset, physical address, bytes in the file) of each segment."""
    (start,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for i in range(count):
        kind, _, offset, _, physical, length = struct.unpack_from("<IIQQQQ", elf, start + size * i)
        yield kind, offset, physical, length


def vmcoreinfo(elf: bytes) -> bytes:
    """Return the text of the VMCOREINFO note of an ELF core."""
    for kind, offset, _, length in _segments(elf):
        if kind != _PT_NOTE:
            continue
        at = offset
        while at < offset + length:
            name_size, size, _ = struct.unpack_from("<III", elf, at)
            name = elf[at + 12 : at + 12 + name_size].rstrip(b"\0")
            at += 12 + -(-name_size // 4) * 4
            if name == b"VMCOREINFO":
                return elf[at : at + size]
            at += -(-size // 4) * 4
    raise LookupError("VMCOREINFO")


def places(elf: bytes) -> dict[int, int]:
    """Return the offset in an ELF core of each page of memory, by its pfn."""
    return {
        (physical + at) // PAGE: offset + at
        for kind, offset, physical, length in _segments(elf)
        if kind == _PT_LOAD
        for at in range(0, length - length % PAGE, PAGE)
    }


def _header(info: dict[str, str], blocks: int, pfns: int, pages: int) -> bytes:
    uts = [b"Linux", b"guest", info["OSRELEASE"].encode(), b"#1", b"x86_64", b"(none)"]
    names = b"".join(name.ljust(65, b"\0") for name in uts)
    return _HEADER.pack(
        b"KDUMP   ", 6, names, 0, 0, _ZLIB, PAGE, 1, blocks, pfns, pages, 0, pages, 0, 1
    ).ljust(PAGE, b"\0")


def write_kdump(core: Path, out: Path) -> dict[int, tuple[int, int]]:
    """Write the ELF core `core` to `out` in the kdump format, pages compressed by zlib.

    Returns (offset, length) of each page in it, by its pfn.
    """
    elf = core.read_bytes()
    text, pages = vmcoreinfo(elf), places(elf)
    info = dict(line.split("=", 1) for line in text.decode().splitlines() if "=" in line)
    note = struct.pack("<III12s", 11, len(text), 0, b"VMCOREINFO") + text
    pfns = max(pages) + 1
    bitmap = bytearray(-(-pfns // (8 * PAGE)) * PAGE)
    for pfn in pages:
        bitmap[pfn // 8] |= 1 << pfn % 8
    sub_header = _SUB_HEADER.pack(
        *(int(info["NUMBER(phys_base)"]), 0, 0, 0, 0),
        *(PAGE + 512 + 24, len(text), PAGE + 512, len(note), 0, 0, 0, 0, pfns),
    )
    with out.open("wb") as stream:
        stream.write(_header(info, 2 * len(bitmap) // PAGE, pfns, len(pages)))
        stream.write((sub_header.ljust(512, b"\0") + note).ljust(PAGE, b"\0"))
        stream.write(bitmap + bitmap)
        descriptors = stream.tell()
        at = descriptors + _DESCRIPTOR.size * len(pages)
        table = bytearray()
        stream.seek(at)
        written: dict[bytes, tuple[int, int, int]] = {}
        found = {}
        for pfn, offset in sorted(pages.items()):
            page = elf[offset : offset + PAGE]
            if page not in written:
                small = zlib.compress(page, 1)
                data, flags = (small, _ZLIB) if len(small) < PAGE else (page, 0)
                written[page] = (at, len(data), flags)
                at += stream.write(data)
            table += _DESCRIPTOR.pack(*written[page], 0)
            found[pfn] = written[page][:2]
        stream.seek(descriptors)
        stream.write(table)
    return found


def write_flattened(kdump: Path, out: Path) -> None:
    """Write a kdump core in makedumpfile's flattened form, as it goes through a pipe."""
    with kdump.open("rb") as source, out.open("wb") as stream:
        stream.write(_FLAT.pack(b"makedumpfile\0\0\0\0", 1, 1).ljust(PAGE, b"\0"))
        at = 0
        while piece := source.read(_FLAT_PIECE):
            stream.write(_PIECE.pack(at, len(piece)) + piece)
            at += len(piece)
        stream.write(_PIECE.pack(-1, -1))


def flattened_offset(offset: int) -> int:
    """Return where in the flattened form a byte of the kdump core lies."""
    return PAGE + offset + _PIECE.size * (offset // _FLAT_PIECE + 1)


if __name__ == "__main__":
    source, as_kdump, as_flattened = map(Path, sys.argv[1:])
    write_kdump(source, as_kdump)
    write_flattened(as_kdump, as_flattened)
