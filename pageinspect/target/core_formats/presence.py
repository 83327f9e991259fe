# SPDX-License-Identifier: GPL-2.0-only
"""Finds which pages a core was to have, and which are in its file, from its headers and bitmaps.

A kdump has two bitmaps: the first one marks pages that there were to dump, the second one those
that were not left out. The program headers of an ELF core have the memory that there was to dump;
makedumpfile splits them where it leaves out many pages, and keeps the size in memory.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

import numpy as np

from ...errors import Exit, PageInspectError
from ...model.arch import PAGE_SIZE
from ...model.presence import PfnSet, Presence, State, pfn_set
from . import elf, flattened, kdump, split

_TOP = np.uint64(1 << 52)
"""Above every physical address."""


class UnknownPresenceError(PageInspectError):
    """It cannot be found which pages a core has."""

    exit_code = Exit.INCOMPLETE


class DamagedCoreError(UnknownPresenceError):
    """It cannot be found because the headers or bitmaps of the core are cut off or invalid."""


def read_presence(path: Path) -> Presence:
    """Return which pages a core has.

    Raises PageInspectError; UnknownPresenceError if that cannot be found, DamagedCoreError if
    damage is the reason.
    """
    try:
        # To open a pipe would wait for its writer.
        if not path.is_file():
            raise _unknown(f"{path} is not a regular file")
        with path.open("rb") as file:
            return _read(path, file)
    except (elf.ElfError, kdump.KdumpError, flattened.FlattenedError) as error:
        raise DamagedCoreError(
            f"which pages the core has cannot be found: {path} {error}",
            "copy it again, or take the dump again",
        ) from None
    except OSError as error:
        raise _unknown(f"cannot read {path}: {error.strerror}") from None


def _unknown(why: str) -> UnknownPresenceError:
    return UnknownPresenceError(
        f"which pages the core has cannot be found: {why}",
        "give an ELF core or a kdump as makedumpfile, QEMU or /proc/vmcore have it",
    )


def _read(path: Path, file: IO[bytes]) -> Presence:
    core, is_whole = file, True
    places = [(0, file.seek(0, os.SEEK_END))]
    file.seek(0)
    is_flat = file.read(len(flattened.SIGNATURE)) == flattened.SIGNATURE
    if is_flat:
        dump = flattened.Reassembled(file)
        core, places, is_whole = cast("IO[bytes]", dump), dump.places, dump.is_whole
    core.seek(0)
    header = kdump.parse(core.read(kdump.HEADER_BYTES))
    if header is not None:
        split.check_joined(path, header)
        cut_off = not is_whole if is_flat else kdump.is_cut_off(core, header, places[0][1])
        return _of_kdump(core, header, kdump.present_bytes(places), cut_off=cut_off)
    headers = elf.read_headers(core)
    if headers is None or not headers.is_machine_memory:
        raise _unknown(f"{path} is not a core of a machine's memory")
    return replace(
        _of_elf(headers, core.seek(0, os.SEEK_END), is_whole=is_whole),
        # makedumpfile alone writes flattened cores.
        by_makedumpfile=is_flat or headers.has_mark_of_makedumpfile,
    )


def _of_kdump(
    core: IO[bytes], header: kdump.Header, there: kdump.PresentBytes, *, cut_off: bool
) -> Presence:
    kept = kdump.marked(core, header, header.bitmap, there)
    if header.first_bitmap is None:
        raise _unknown("it has no bitmap of the pages that there were to dump")
    dumpable = kdump.marked(core, header, header.first_bitmap, there)
    present = kept.minus(kdump.unreadable(core, header, there))
    state = _state(cut_off=cut_off, marked=not header.is_whole)
    # QEMU sets the name of the machine alone.
    writer = header.is_complete
    return Presence("kdump", dumpable, kept, present, header.level, state, by_makedumpfile=writer)


def _of_elf(headers: elf.Headers, length: int, *, is_whole: bool) -> Presence:
    rows = headers.segments[headers.segments["physical"] < _TOP]
    starts, sizes = rows["physical"], np.minimum(rows["size"], _TOP)
    held, offsets = np.minimum(rows["held"], sizes), np.minimum(rows["offset"], np.uint64(length))
    there = np.minimum(held, np.uint64(length) - offsets)
    cut_off = not is_whole or headers.end > length
    return Presence(
        "elf",
        _pages(starts, sizes),
        _pages(starts, held),
        _pages(starts, there),
        state=_state(cut_off=cut_off, marked=not headers.is_whole),
    )


def _state(*, cut_off: bool, marked: bool) -> State:
    if marked:
        return "incomplete"
    return "cut off" if cut_off else "whole"


def _pages(starts: "elf.Words", sizes: "elf.Words") -> PfnSet:
    """Return the whole pages of physical memory; segments may meet within a page."""
    joined = pfn_set(starts.astype(np.int64), (starts + sizes).astype(np.int64)).edges
    return pfn_set(-(-joined[::2] // PAGE_SIZE), joined[1::2] // PAGE_SIZE)
