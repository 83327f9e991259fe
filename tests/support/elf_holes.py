# SPDX-License-Identifier: GPL-2.0-only
"""Cores that lack a part: what a core's program headers say is changed in place, and put back."""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

from pageinspect.model.elf import HEADER, LOAD, PROGRAM_HEADER

_OFFSET, _PHYS, _IN_FILE, _IN_MEMORY = 2, 4, 5, 6


@contextlib.contextmanager
def without(core: Path, start: int, end: int, *, cut_off: bool = False) -> Iterator[Path]:
    """Give the core without the physical addresses from start to end.

    No segment has them; or (`cut_off`) one has, at a place in the file beyond its end.
    """
    with core.open("r+b") as file:
        head = file.read(HEADER.size)
        fields = list(HEADER.unpack(head))
        file.seek(fields[5])
        size = file.seek(0, 2)
        file.seek(fields[5])
        segments = [
            list(PROGRAM_HEADER.unpack(file.read(PROGRAM_HEADER.size))) for _ in range(fields[10])
        ]
        (whole,) = (s for s in segments if s[0] == LOAD and s[_PHYS] < start < end < _end(s))
        parts = [_part(whole, whole[_PHYS], start), _part(whole, end, _end(whole))]
        if cut_off:
            parts.append(_part(whole, start, end))
            parts[-1][_OFFSET] += size
        changed = [s for s in segments if s is not whole] + parts
        file.seek(size)
        file.write(b"".join(PROGRAM_HEADER.pack(*segment) for segment in changed))
        fields[5], fields[10] = size, len(changed)
        file.seek(0)
        file.write(HEADER.pack(*fields))
        file.flush()
        try:
            yield core
        finally:
            file.seek(0)
            file.write(head)
            file.truncate(size)


def _end(segment: list[int]) -> int:
    return segment[_PHYS] + segment[_IN_MEMORY]


def _part(segment: list[int], start: int, end: int) -> list[int]:
    part = list(segment)
    part[_OFFSET] += start - segment[_PHYS]
    part[_PHYS] = start
    part[_IN_FILE] = part[_IN_MEMORY] = end - start
    return part


@contextlib.contextmanager
def without_note(core: Path) -> Iterator[str]:
    """Give the text of a core's VMCOREINFO note, which it lacks meanwhile."""
    with core.open("r+b") as file:
        header = file.read(64)
        start, size, n = (
            *struct.unpack_from("<Q", header, 32),
            *struct.unpack_from("<2H", header, 54),
        )
        file.seek(start)
        entries = [struct.unpack("<2I6Q", file.read(size)) for _ in range(n)]
        where, length = next((entry[2], entry[5]) for entry in entries if entry[0] == 4)
        file.seek(where)
        notes = file.read(length)
        name = notes.index(b"VMCOREINFO\0")
        text = notes[name:].split(b"OSRELEASE=", 1)[1].split(b"\0", 1)[0]
        file.seek(where + name)
        file.write(b"vmcoreinfo")
        file.flush()
        yield "OSRELEASE=" + text.decode()
        file.seek(where + name)
        file.write(b"VMCOREINFO")
