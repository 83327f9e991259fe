# SPDX-License-Identifier: GPL-2.0-only
"""Small kdumps made by hand: each page's contents where a test wants them."""

import struct
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from places import DATA

BLOCK = 4096
INCOMPLETE = 8
VMCOREINFO = (DATA / "vmcoreinfo_6.12.txt").read_bytes()
_ZLIB = 1
DESCRIPTOR = struct.Struct("<QIIQ")


@dataclass
class Kdump:
    """A dump of `pages`, contents by pfn, compressed, in this order in the file."""

    pages: Mapping[int, bytes]
    status: int = 0
    pfns: int = 1024
    dumpable: Collection[int] = ()
    """Further pfns that there were to dump: the first bitmap has them alone."""
    level: int = 0
    part: tuple[int, int] = (0, 0)
    """Of a split dump: the first pfn of the part, and the one after its last."""
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Offset and size of each page's contents, when it was made."""

    @property
    def descriptors(self) -> int:
        """Where they begin."""
        return 5 * BLOCK

    def make(self) -> bytes:
        """Return the file: header, sub header, VMCOREINFO, two bitmaps, descriptors, contents."""
        names = b"".join(n.ljust(65, b"\0") for n in (b"Linux", b"h", b"6.12", b"#1", b"x86_64"))
        sizes = struct.pack("<IiiII", self.status, BLOCK, 2, 2, self.pfns)
        header = (b"KDUMP   " + struct.pack("<i", 6) + names + b"(none)").ljust(424, b"\0") + sizes
        note = struct.pack("<III12s", 11, len(VMCOREINFO), 0, b"VMCOREINFO") + VMCOREINFO
        at, size = 2 * BLOCK, len(VMCOREINFO)
        sub = struct.pack(
            *("<qiiQQQQQQ", 0, self.level, any(self.part), 0, 0, at + 24, size, at, len(note))
        ).ljust(80, b"\0")
        sub += struct.pack("<QQQ", *self.part, self.pfns)
        bitmaps = _bitmap({*self.pages, *self.dumpable}), _bitmap(self.pages)
        at = self.descriptors + DESCRIPTOR.size * len(self.pages)
        contents = b""
        for pfn, page in self.pages.items():
            data = zlib.compress(page)
            self.places[pfn] = at + len(contents), len(data)
            contents += data
        table = b"".join(DESCRIPTOR.pack(*self.places[pfn], _ZLIB, 0) for pfn in sorted(self.pages))
        blocks = (header, sub, note, *bitmaps)
        return b"".join(block.ljust(BLOCK, b"\0") for block in blocks) + table + contents


def _bitmap(pfns: Iterable[int]) -> bytes:
    bitmap = bytearray(BLOCK)
    for pfn in pfns:
        bitmap[pfn // 8] |= 1 << pfn % 8
    return bytes(bitmap)
