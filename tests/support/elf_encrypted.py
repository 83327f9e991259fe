# SPDX-License-Identifier: GPL-2.0-only
"""A core as of a machine that encrypts memory (SME): made of another in place, and put back.

Every entry of the kernel's page tables gets the encryption bit, and NUMBER(sme_mask) names it.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pageinspect.target.core_formats.elf import held_segments

_PAGE = 4096
_IMAGE = 0xFFFFFFFF80000000
_FRAME = 0x000FFFFFFFFFF000
_PRESENT, _LARGE = 1, 1 << 7
_NOTE = re.compile(
    # Nobody here asks for the first of them: it makes room.
    rb"NUMBER\(KERNEL_IMAGE_SIZE\)=\d+\n(?:.*\n)?NUMBER\(sme_mask\)=0\n"
)


@contextlib.contextmanager
def encrypted(core: Path, bit: int) -> Iterator[None]:
    """Let a core be one with memory encryption meanwhile."""
    with core.open("r+b") as file:
        segments = held_segments(file)
        file.seek(0)
        start = file.read(1 << 17)
        before = {}

        def replace(offset: int, data: bytes) -> None:
            file.seek(offset)
            before[offset] = file.read(len(data))
            file.seek(offset)
            file.write(data)

        def encrypt(table: int, level: int) -> None:
            """Set the bit in a table, and in those below."""
            (at,) = (s.offset + table - s.start for s in segments if 0 <= table - s.start < s.size)
            if at in before:
                return
            file.seek(at)
            entries = np.frombuffer(file.read(_PAGE), np.uint64)
            present = entries & np.uint64(_PRESENT) != 0
            replace(at, np.where(present, entries | np.uint64(1 << bit), entries).tobytes())
            if level > 1:
                below = present & ((entries & np.uint64(_LARGE) == 0) | (level > 3))
                for entry in entries[below].tolist():
                    encrypt(entry & _FRAME, level - 1)

        def number(pattern: bytes, base: int) -> int:
            match = re.search(pattern, start)
            assert match is not None
            return int(match[1], base)

        swapper = number(rb"SYMBOL\(swapper_pg_dir\)=(\w+)", 16)
        levels = 4 + number(rb"NUMBER\(pgtable_l5_enabled\)=(\d)", 10)
        encrypt(swapper - _IMAGE + number(rb"NUMBER\(phys_base\)=(-?\d+)", 10), levels)
        note = _NOTE.search(start)
        assert note is not None
        line = b"NUMBER(sme_mask)=%#x\n" % (1 << bit)
        replace(note.start(), line.rjust(len(note[0]), b"\n"))
        file.flush()
        try:
            yield
        finally:
            for offset, data in before.items():
                file.seek(offset)
                file.write(data)
