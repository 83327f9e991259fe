# SPDX-License-Identifier: GPL-2.0-only
"""kdumps and flattened cores made by hand."""

import struct

BLOCK = 4096
VMCOREINFO = b"OSRELEASE=6.12.0-test\nPAGESIZE=4096\nNUMBER(phys_base)=-136314880\n"


def flat(*pieces: tuple[int, bytes], end: bool = True) -> bytes:
    out = b"makedumpfile".ljust(16, b"\0") + struct.pack(">qq", 1, 1)
    out = out.ljust(BLOCK, b"\0")
    for offset, data in pieces:
        out += struct.pack(">qq", offset, len(data)) + data
    return out + (struct.pack(">qq", -1, -1) if end else b"")


def core(*, names: tuple[str, ...], split: int = 0, vmcoreinfo: bytes = VMCOREINFO) -> bytes:
    """Return the head of a kdump and a page behind it."""
    header = b"KDUMP   " + struct.pack("<i", 6)
    header += b"".join(name.encode().ljust(65, b"\0") for name in names)
    header = header.ljust(424, b"\0") + struct.pack("<Iii", 1, BLOCK, 1)
    sub = struct.pack("<QiiQQQQ", 0xFFFFFFFEC9CEB780, 0, split, 0, 0, 2 * BLOCK, len(vmcoreinfo))
    blocks = (header, sub, vmcoreinfo, b"a page".ljust(BLOCK, b"x"))
    return b"".join(block.ljust(BLOCK, b"\0") for block in blocks)


FULL = ("Linux", "host", "6.12.0-test", "#1", "x86_64", "(none)")
FROM_QEMU = ("", "", "", "", "x86_64", "")
