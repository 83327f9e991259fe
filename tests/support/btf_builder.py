# SPDX-License-Identifier: GPL-2.0-only
"""Writes small BTF sections, after Documentation/bpf/btf.rst."""

import struct

from pageinspect.target.symbols.btf import BtfKind


class Builder:
    """Adds types one by one; `build` gives the section."""

    def __init__(self) -> None:
        self.types = b""
        self.strings = b"\0"
        self.count = 0

    def name(self, text: str) -> int:
        if not text:
            return 0
        found = self.strings.find(b"\0" + text.encode() + b"\0")
        if found >= 0:
            return found + 1
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(
        self,
        kind: BtfKind | int,
        name: str,
        size_or_type: int,
        extra: bytes = b"",
        *,
        vlen: int = 0,
        flag: bool = False,
    ) -> int:
        info = flag << 31 | kind << 24 | vlen
        self.types += struct.pack("<III", self.name(name), info, size_or_type) + extra
        self.count += 1
        return self.count

    def integer(self, name: str, size: int, encoding: int = 0) -> int:
        return self.add(BtfKind.INT, name, size, struct.pack("<I", encoding << 24 | 8 * size))

    def struct(
        self,
        name: str,
        size: int,
        members: list[tuple[str, int, int]],
        kind: BtfKind = BtfKind.STRUCT,
    ) -> int:
        """Add a struct of (name, type, bit offset) members."""
        extra = b"".join(struct.pack("<III", self.name(n), t, o) for n, t, o in members)
        return self.add(kind, name, size, extra, vlen=len(members))

    def build(self) -> bytes:
        header = struct.pack(
            "<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings)
        )
        return header + self.types + self.strings


def small() -> Builder:
    """Return what a struct page needs, on a small scale."""
    b = Builder()
    uint = b.integer("unsigned int", 4)
    ulong = b.integer("long unsigned int", 8)
    inner = b.struct("", 4, [("page_type", uint, 0), ("_mapcount", uint, 0)], BtfKind.UNION)
    page = b.struct("page", 16, [("flags", ulong, 0), ("", inner, 64)])
    b.add(BtfKind.PTR, "", page)
    b.add(BtfKind.TYPEDEF, "page_t", page)
    b.add(
        BtfKind.ENUM,
        "pageflags",
        4,
        struct.pack("<IiIi", b.name("PG_locked"), 0, b.name("PG_head"), 6),
        vlen=2,
    )
    return b
