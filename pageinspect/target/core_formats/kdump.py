# SPDX-License-Identifier: GPL-2.0-only
"""Reads the headers of a compressed kdump (makedumpfile, QEMU) of a 64-bit x86 kernel.

Block 0 is struct disk_dump_header: signature, version, struct new_utsname, sizes. Block 1 is struct
kdump_sub_header: phys_base, dump level, whether the dump is split, the location of VMCOREINFO.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

from ...host.progress import paced
from ...model import arch
from ...model.arch import PAGE_SIZE
from ...model.presence import PfnSet, pfn_set
from ...model.ranges import Range, merge
from .limits import excess

HEADER_BYTES = 8192
"""Bytes from the start of the file that parse() examines."""

_SIGNATURE = b"KDUMP   "
_NAME_BYTES = 65
_NAMES = {
    name: 12 + index * _NAME_BYTES
    for index, name in enumerate(("sysname", "nodename", "release", "version", "machine"))
}
"""The members of struct new_utsname, with their byte offsets in the header."""
_SIZES = struct.Struct("<IiiII")
_SIZES_AT = 424
_INCOMPLETE = 8
"""DUMP_DH_COMPRESSED_INCOMPLETE, a bit of the status: makedumpfile ran out of room."""
_SUB_HEADER = struct.Struct("<qiiQQQQ")
_NOTE_SIZES = struct.Struct("<40xQ8xQ8xQ")
"""Sizes in the sub header: of VMCOREINFO, of all notes, of the list of erased data."""
_PFNS = struct.Struct("<QQQ")
_PFNS_AT = 80
"""Offset of start_pfn_64, end_pfn_64 and max_mapnr_64 in the sub header, from version 6 on."""
_DESCRIPTOR = np.dtype(
    [("offset", "<u8"), ("size", "<u4"), ("flags", "<u4"), ("page_flags", "<u8")]
)
_BITMAP_PIECE = 1 << 14
"""Bytes of the bitmap that are processed at once: 131,072 pages."""
_SHARED = 1 << 16
"""The shared contents of all zero pages are within this many bytes from the start of the data."""

_MAX_RUNS = 1 << 20
"""The largest number of runs of absent pages: they are kept as Python integers."""
_BEYOND = 1 << 62
"""Above every offset in a file."""

Offsets = npt.NDArray[np.int64]


class KdumpError(ValueError):
    """A dump that is cut off before the contents of pages begin."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a kdump header."""

    names: dict[str, bytes]
    """The members of struct new_utsname that libkdumpfile requires."""
    level: int
    """The dump level: which pages makedumpfile was asked to leave out."""
    part: tuple[int, int] | None
    """The (start, end) pfns of one part of a split dump; None if the dump is not split."""
    pfns: int
    """The pfn after the last one of the machine."""
    vmcoreinfo: tuple[int, int] | None
    """File offset and size of VMCOREINFO in bytes; None without it."""
    is_whole: bool
    """Whether makedumpfile wrote the complete dump, by its status."""
    bitmap: tuple[int, int]
    """File offset and size in bytes of the bitmap of dumped pages."""
    first_bitmap: tuple[int, int] | None
    """The same of the bitmap of pages that there were to dump; None without it."""
    descriptors: int
    """File offset of the page descriptors."""

    @property
    def is_complete(self) -> bool:
        """Whether all names are set: libkdumpfile takes the architecture from all or none."""
        return all(self.names.values())


@dataclass(frozen=True, slots=True)
class PresentBytes:
    """The byte ranges of a dump that are present in a file: sorted, disjoint, `ends` exclusive."""

    starts: Offsets
    ends: Offsets

    def has(self, offsets: Offsets, sizes: Offsets | int) -> npt.NDArray[np.bool_]:
        """Return whether all `sizes` bytes from each of `offsets` are present, (n,) bool."""
        if not len(self.starts):
            return np.zeros(len(offsets), np.bool_)
        which = np.searchsorted(self.starts, offsets, "right") - 1
        return (which >= 0) & (offsets + sizes <= self.ends[which])


def present_bytes(pieces: list[Range]) -> PresentBytes:
    """Return the byte ranges of a file with these (start, end) pieces, in any order."""
    places = np.array(merge(pieces), np.int64).reshape(-1, 2)
    return PresentBytes(places[:, 0], places[:, 1])


def machine(start: bytes) -> str | None:
    """Return the machine name in the header of a kdump; None if the file is not a kdump.

    Raises KdumpError.
    """
    if not start.startswith(_SIGNATURE):
        return None
    if len(start) < HEADER_BYTES:
        raise KdumpError("is cut off in its headers")
    at = _NAMES["machine"]
    return start[at : at + _NAME_BYTES].partition(b"\0")[0].decode("ascii", "replace")


def parse(start: bytes) -> Header | None:
    """Return the header at the start of a file; None if it is not a kdump of an x86_64 kernel.

    Raises KdumpError.
    """
    if machine(start) != arch.NAME:
        return None
    names = {name: start[at : at + _NAME_BYTES].partition(b"\0")[0] for name, at in _NAMES.items()}
    status, block_size, sub_blocks, bitmap_blocks, pfns = _SIZES.unpack_from(start, _SIZES_AT)
    if block_size != PAGE_SIZE or sub_blocks < 0:
        return None
    if problem := excess(*_note_sizes(start, block_size)):
        raise KdumpError(problem)
    _, level, split, first, end, offset, size = _SUB_HEADER.unpack_from(start, block_size)
    vmcoreinfo = (offset, size) if size else None
    if struct.unpack_from("<i", start, len(_SIGNATURE))[0] >= 6:
        first, end, pfns = _PFNS.unpack_from(start, block_size + _PFNS_AT)
    at, length = (1 + sub_blocks) * block_size, bitmap_blocks * block_size
    descriptors = at + length
    # With two bitmaps, the first one marks pages of the machine and the second one dumped pages.
    first_bitmap = None
    if pfns <= length * 8 // 2:
        length = bitmap_blocks // 2 * block_size
        first_bitmap = at, length
        at += length
    return Header(
        names,
        level,
        (first, end) if split else None,
        pfns,
        vmcoreinfo,
        not status & _INCOMPLETE,
        (at, length),
        first_bitmap,
        descriptors,
    )


def _note_sizes(start: bytes, at: int) -> tuple[int, int]:
    """Return the bytes of VMCOREINFO and of other notes that the sub header claims."""
    vmcoreinfo, notes, erased = _NOTE_SIZES.unpack_from(start, at)
    return vmcoreinfo, max(notes, erased)


def is_cut_off(core: IO[bytes], header: Header, size: int) -> bool:
    """Return whether a file of `size` bytes is too short for the pages it should contain.

    Only the last descriptors are read, because pages have the same order in the file as in memory;
    all zero pages share one place. Raises KdumpError.
    """
    bitmap = _bitmap(core, header, header.bitmap, present_bytes([(0, size)]))
    count = sum(int(np.unpackbits(piece).sum()) for _, piece in bitmap)
    data = header.descriptors + count * _DESCRIPTOR.itemsize
    if count and data > size:
        return True
    end = count
    while end > 0:
        start = max(0, end - 8 * _BITMAP_PIECE)
        offsets, sizes = _places(core, header, start, end)
        last = int((offsets + sizes).max())
        if last > size:
            return True
        if last > data + _SHARED:
            return False
        end = start
    return False


def absent(core: IO[bytes], header: Header, there: PresentBytes) -> list[Range]:
    """Return the (first, end) pfns of dumped pages whose contents are not complete in the file.

    Zero pages between them are returned too if there are more than _MAX_RUNS. Raises KdumpError.
    """
    edges = unreadable(core, header, there).edges
    return [(first, end) for first, end in _fewer(edges.reshape(-1, 2)).tolist()]


def unreadable(core: IO[bytes], header: Header, there: PresentBytes) -> PfnSet:
    """Return the dumped pages whose contents are not complete in the file. Raises KdumpError."""
    runs, start = [np.empty((0, 2), np.int64)], 0
    for first, piece in paced(_bitmap(core, header, header.bitmap, there)):
        pfns = first + np.flatnonzero(np.unpackbits(piece, bitorder="little"))
        end = start + len(pfns)
        offsets, sizes = _places(core, header, start, end)
        at = header.descriptors + np.arange(start, end) * _DESCRIPTOR.itemsize
        held = there.has(at, _DESCRIPTOR.itemsize) & there.has(offsets, sizes)
        lost = pfns[~held | (sizes == 0) | (offsets < header.descriptors)]
        edges = np.flatnonzero(np.diff(lost) != 1)
        firsts = lost[np.concatenate(([0], edges + 1))] if len(lost) else lost
        lasts = lost[np.concatenate((edges, [len(lost) - 1]))] if len(lost) else lost
        runs.append(np.stack((firsts, lasts + 1), axis=1))
        start = end
    every = np.concatenate(runs)
    return pfn_set(every[:, 0], every[:, 1])


def _fewer(runs: Offsets) -> Offsets:
    """Return sorted (first, end) rows; the smallest gaps are closed until _MAX_RUNS rows are left.

    Pages in these gaps are zero pages: all of them share one place in the file.
    """
    gap = 1
    while len(runs) > _MAX_RUNS:
        gap *= 2
        apart = np.flatnonzero(runs[1:, 0] - runs[:-1, 1] > gap)
        firsts = runs[np.concatenate(([0], apart + 1)), 0]
        ends = runs[np.concatenate((apart, [len(runs) - 1])), 1]
        runs = np.stack((firsts, ends), axis=1)
    return runs


def marked(core: IO[bytes], header: Header, which: tuple[int, int], there: PresentBytes) -> PfnSet:
    """Return the pfns that a bitmap of the header marks. Raises KdumpError."""
    edges, last = [np.empty(0, np.int64)], np.int8(0)
    for first, piece in paced(_bitmap(core, header, which, there)):
        if last or piece.any():
            bits = np.unpackbits(piece, bitorder="little").view(np.int8)
            edges.append(first + np.flatnonzero(np.diff(bits, prepend=last)))
            last = bits[-1]
    if last:
        edges.append(np.array([which[1] * 8], np.int64))
    return PfnSet(np.concatenate(edges))


def _bitmap(
    core: IO[bytes], header: Header, which: tuple[int, int], there: PresentBytes
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Yield (first pfn, bytes) of each piece of a bitmap. Raises KdumpError."""
    offset, length = which
    # makedumpfile does not write the zeros at the end of the last block.
    if length and (not len(there.ends) or there.ends[-1] < header.descriptors):
        raise KdumpError("is cut off in its bitmap of pages")
    for done in range(0, length, _BITMAP_PIECE):
        core.seek(offset + done)
        wanted = min(_BITMAP_PIECE, length - done)
        piece = core.read(wanted).ljust(wanted, b"\0")
        yield done * 8, np.frombuffer(piece, np.uint8)


def _places(core: IO[bytes], header: Header, start: int, end: int) -> tuple[Offsets, Offsets]:
    """Return file offsets and sizes of the contents of dumped pages start to end, 0 if unreadable.

    Both are (end - start,) int64; pages are numbered by their descriptor.
    """
    core.seek(header.descriptors + start * _DESCRIPTOR.itemsize)
    wanted = (end - start) * _DESCRIPTOR.itemsize
    places = np.frombuffer(core.read(wanted).ljust(wanted, b"\0"), _DESCRIPTOR)
    offsets = np.minimum(places["offset"], np.uint64(_BEYOND)).astype(np.int64)
    return offsets, places["size"].astype(np.int64)


def complete_header(core: IO[bytes], header: Header) -> None:
    """Fill in empty names and phys_base from VMCOREINFO.

    QEMU writes only the machine name, and reads the decimal NUMBER(phys_base) as hexadecimal.
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
        core.seek(PAGE_SIZE)
        core.write(struct.pack("<Q", int(match[1]) & (1 << 64) - 1))
