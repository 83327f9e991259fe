# SPDX-License-Identifier: GPL-2.0-only
"""Reads the headers of ELF cores of 64-bit little-endian kernels: segments and notes."""

import itertools
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

from ...model import arch
from ...model.elf import HEADER, LOAD, MAGIC, NOTE, ProgramHeader
from .limits import excess

CORE = 4
"""e_type: ET_CORE."""
MACHINES = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    arch.ELF_MACHINE: arch.NAME,
    183: "aarch64",
    243: "riscv",
    258: "loongarch",
}
"""Architecture names by e_machine."""

Words = npt.NDArray[np.uint64]

_WIDE_AND_LITTLE = b"\x7fELF\x02\x01"
_SEGMENT = np.dtype([*zip(ProgramHeader._fields, ["<u4"] * 2 + ["<u8"] * 6, strict=True)])
_SECTION_BYTES = 64
_SH_INFO = 44
_MANY = 0xFFFF
_INCOMPLETE = 1
"""DUMP_ELF_INCOMPLETE, a bit of e_flags that makedumpfile sets."""
_ERASED = b"ERASEINFO"
"""The name of a note with what makedumpfile erased from the dump (-e, --config)."""
_MAX_SEGMENTS = 1 << 22
_MAX_AT_ONCE = 256 << 20
_NOTE_HEADER = struct.Struct("<III")
_BEYOND = np.uint64(1 << 52)
"""Above every physical address. Segments without one have -1."""


class ElfError(ValueError):
    """Headers that are cut off or invalid."""


class CutOffElfError(ElfError):
    """Headers that are cut off."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Memory present in the file: `size` bytes from physical address `start`, at file `offset`."""

    start: int
    size: int
    offset: int


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers of an ELF core."""

    segments: npt.NDArray[np.void]
    """The PT_LOAD program headers in file order, (n,) of the fields of ProgramHeader."""
    notes: bytes
    """The contents of all PT_NOTE segments, concatenated."""
    is_whole: bool = True
    """False where makedumpfile marked the core as incomplete because it ran out of room."""

    @property
    def end(self) -> int:
        """The length in bytes that a complete file has at least."""
        held = self.segments[self.segments["held"] > 0]
        # Python integers do not wrap.
        ends = held["offset"].astype(object) + held["held"].astype(object)
        return max(ends.tolist(), default=0)

    @property
    def has_mark_of_makedumpfile(self) -> bool:
        """Whether the core has what makedumpfile alone writes.

        That is the flag of an incomplete dump, or the list of data that it erased. Other cores of
        makedumpfile have neither.
        """
        return not self.is_whole or any(name == _ERASED for name, _, _ in notes(self.notes))

    @property
    def is_machine_memory(self) -> bool:
        """Whether this is a machine's memory: a core of a process has no physical addresses."""
        return bool(self.segments["physical"].any() or not self.segments["virtual"].any())

    @property
    def has_hidden_bytes(self) -> bool:
        """Whether one segment has bytes that another one omits: drgn may not find these bytes."""
        physical = self.segments[self.segments["physical"] < _BEYOND]
        empty, full = (
            physical[physical["held"] < physical["size"]],
            np.sort(physical[physical["held"] > 0], order="physical"),
        )
        if not len(empty) or not len(full):
            return False
        # For each segment with omitted bytes: how many full ones begin before its end, and the
        # highest end among these.
        before = np.searchsorted(full["physical"], empty["physical"] + empty["size"])
        ends = np.maximum.accumulate(full["physical"] + full["held"])
        starts = empty["physical"] + empty["held"]
        return bool(((before > 0) & (ends[before - 1] > starts)).any())

    def held(self, length: int) -> list[Segment]:
        """Return the parts of the segments that are present in a file of `length` bytes."""
        rows = self.segments[self.segments["physical"] < _BEYOND]
        rows = rows[(rows["offset"] < length) & (rows["held"] > 0)]
        sizes = np.minimum(rows["held"], np.uint64(length) - rows["offset"])
        places = (rows["physical"].tolist(), sizes.tolist(), rows["offset"].tolist())
        return list(map(Segment, *places))


def identify(start: bytes) -> tuple[int, int] | None:
    """Return e_type and e_machine from the first bytes of an ELF file; None for other files."""
    if not start.startswith(MAGIC) or len(start) < 20:
        return None
    kind, machine = struct.unpack_from(">HH" if start[5] == 2 else "<HH", start, 16)
    return kind, machine


def read_headers(file: IO[bytes]) -> Headers | None:
    """Return the headers of an x86_64 core; None for other files. Raises ElfError."""
    file.seek(0)
    start = file.read(HEADER.size)
    if not start.startswith(_WIDE_AND_LITTLE) or identify(start) != (CORE, arch.ELF_MACHINE):
        return None
    if len(start) < HEADER.size:
        raise CutOffElfError("is cut off in its headers")
    _, _, _, _, _, offset, sections, flags, _, width, count, *_ = HEADER.unpack(start)
    if count == _MANY:
        # PN_XNUM: sh_info of the first section header has the number.
        section = _at(file, sections, _SECTION_BYTES)
        (count,) = struct.unpack_from("<I", section, _SH_INFO)
    if width != _SEGMENT.itemsize or count > _MAX_SEGMENTS:
        raise ElfError("has a header that makes no sense")
    table = np.frombuffer(_at(file, offset, count * width), _SEGMENT)
    note_rows = table[table["type"] == NOTE]
    if problem := excess(0, sum(note_rows["held"].tolist())):
        raise ElfError(problem)
    data = b"".join(_at(file, int(row["offset"]), int(row["held"])) for row in note_rows)
    longest = max((len(text) for name, _, text in notes(data) if name == b"VMCOREINFO"), default=0)
    if problem := excess(longest, 0):
        raise ElfError(problem)
    return Headers(table[table["type"] == LOAD], data, not flags & _INCOMPLETE)


def _at(file: IO[bytes], offset: int, size: int) -> bytes:
    if size > _MAX_AT_ONCE or offset > sys.maxsize:
        raise ElfError("has a header that makes no sense")
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise CutOffElfError("is cut off in its headers")
    return data


def held_segments(file: IO[bytes]) -> list[Segment]:
    """Return the parts of an x86_64 ELF core's segments that the file has; [] for other files."""
    try:
        headers = read_headers(file)
    except ElfError:
        return []
    return [] if headers is None else headers.held(file.seek(0, 2))


def overlap(segments: list[Segment]) -> bool:
    """Return whether any two segments overlap."""
    ranges = sorted((segment.start, segment.start + segment.size) for segment in segments)
    return any(end > start for (_, end), (start, _) in itertools.pairwise(ranges))


def notes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield (name, type, content) of each note."""
    at = 0
    while at + _NOTE_HEADER.size <= len(data):
        name_size, size, kind = _NOTE_HEADER.unpack_from(data, at)
        at += _NOTE_HEADER.size
        name = data[at : at + name_size].rstrip(b"\0")
        at += -(-name_size // 4) * 4
        yield name, kind, data[at : at + size]
        at += -(-size // 4) * 4
