"""The header of a compressed kdump (makedumpfile, QEMU) of a 64-bit x86 kernel.

Block 0 is struct disk_dump_header: a signature, a version, struct new_utsname, sizes. The next is
struct kdump_sub_header: phys_base, dump level, whether the dump is split, where VMCOREINFO is.
"""

import re
import struct
from dataclasses import dataclass
from typing import IO

ENOUGH = 8192
"""Bytes from the start that parse() looks at."""

_SIGNATURE = b"KDUMP   "
_NAME_BYTES = 65
_NAMES = {
    name: 12 + index * _NAME_BYTES
    for index, name in enumerate(("sysname", "nodename", "release", "version", "machine"))
}
"""Where each starts."""
_BLOCK_SIZE_AT = 428
_SUB_HEADER = struct.Struct("<qiiQQQQ")
_PAGE_BYTES = 4096
_MOST_VMCOREINFO = 1 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says."""

    names: dict[str, bytes]
    """struct new_utsname, as far as libkdumpfile wants it filled."""
    is_part: bool
    """Whether it is a part of a split dump."""
    vmcoreinfo: tuple[int, int] | None
    """Where VMCOREINFO is: offset and size in bytes."""

    @property
    def is_complete(self) -> bool:
        """Whether drgn learns the architecture from it: libkdumpfile takes all names or none."""
        return all(self.names.values())


def parse(start: bytes) -> Header | None:
    """Return the header at the start of a dump, None when it is none of an x86_64 kernel."""
    if not start.startswith(_SIGNATURE) or len(start) < ENOUGH:
        return None
    names = {name: start[at : at + _NAME_BYTES].partition(b"\0")[0] for name, at in _NAMES.items()}
    (block_size,) = struct.unpack_from("<i", start, _BLOCK_SIZE_AT)
    if names["machine"] != b"x86_64" or block_size != _PAGE_BYTES:
        return None
    _, _, split, _, _, offset, size = _SUB_HEADER.unpack_from(start, block_size)
    vmcoreinfo = (offset, size) if 0 < size < _MOST_VMCOREINFO else None
    return Header(names, split != 0, vmcoreinfo)


def complete(core: IO[bytes], header: Header) -> None:
    """Fill in, from the core's VMCOREINFO, the names that are empty, and phys_base.

    QEMU writes the machine alone, and takes the decimal NUMBER(phys_base) for hexadecimal.
    """
    text = b""
    if header.vmcoreinfo is not None:
        offset, size = header.vmcoreinfo
        core.seek(offset)
        text = core.read(size)
    release = re.search(rb"^OSRELEASE=(.+)$", text, re.MULTILINE)
    known = {"sysname": b"Linux", "release": release[1] if release else b""}
    for name, at in _NAMES.items():
        if not header.names[name]:
            filled = known.get(name) or b"(none)"
            core.seek(at)
            core.write(filled[: _NAME_BYTES - 1].ljust(_NAME_BYTES, b"\0"))
    if match := re.search(rb"^NUMBER\(phys_base\)=(-?\d{1,19})$", text, re.MULTILINE):
        core.seek(_PAGE_BYTES)
        core.write(struct.pack("<Q", int(match[1]) & (1 << 64) - 1))
