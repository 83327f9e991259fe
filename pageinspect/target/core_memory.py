# SPDX-License-Identifier: GPL-2.0-only
"""Memory segments that correct how drgn reads the memory of a core.

They take precedence over the segments that drgn makes from the file. They are added to:

- an ELF core of a machine with memory encryption: drgn does not remove the encryption bit from page
  table entries;
- an ELF core in which a segment without bytes in the file overlaps one that has them;
- a kdump with missing pages: libkdumpfile reads beyond the end of the file as zeros, and gets
  SIGBUS for a read across the end.
"""

import bisect
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from drgn import FaultError, Program

from ..errors import PageInspectError
from ..model.arch import ADDRESSES_OF_KERNEL, PAGE_SIZE
from ..model.ranges import Range
from . import core_formats, vmcoreinfo
from .drgn_log import suppress_log
from .page_tables import PageTables, encryption_mask

_TOP = 1 << 64


class NoVmcoreinfoError(PageInspectError):
    """A core of a machine that has no VMCOREINFO."""


def attach(prog: Program, opened: core_formats.PreparedCore, path: Path) -> None:
    """Attach a core to `prog`; `path` is its name in errors. Raises PageInspectError."""
    # drgn closes the descriptor that it is given.
    again = opened.source if isinstance(opened.source, Path) else os.dup(opened.source)
    _set_core(prog, opened.source, path)
    info = vmcoreinfo.of_program(prog)
    headers = opened.headers
    if not info and headers is not None and headers.is_machine_memory:
        raise _without_vmcoreinfo(path)
    if opened.absent:
        within = Program()
        _set_core(within, again, path)
        memory = _PresentPages(within, opened.absent)
        prog.add_memory_segment(0, _TOP - 1, memory.read, physical=True)
    elif not isinstance(again, Path):
        os.close(again)
    if headers is not None and headers.has_hidden_bytes:
        _prefer_bytes_in_file(prog, headers, path)
    encrypts = headers is not None and encryption_mask(info) != 0
    if (opened.absent or encrypts) and "SYMBOL(swapper_pg_dir)" in info:
        tables = PageTables(prog, info)
        for start, end in _gaps(headers):
            prog.add_memory_segment(start, end - start, tables.read)


def _set_core(prog: Program, source: Path | int, path: Path) -> None:
    try:
        # PreparedCore.notes has this warning already.
        with suppress_log("flattened"):
            prog.set_core_dump(source)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - drgn raises it for what libkdumpfile finds
        if "unrecognized QEMU memory dump" in str(error):
            raise _without_vmcoreinfo(path) from None
        raise PageInspectError(
            f"{path} is not a core that can be read: {error}",
            "give a kernel core: ELF with VMCOREINFO or kdump (makedumpfile); raw memory has no "
            "headers: take it again with virsh dump --memory-only GUEST CORE",
        ) from None


def _without_vmcoreinfo(path: Path) -> NoVmcoreinfoError:
    return NoVmcoreinfoError(f"{path} lacks VMCOREINFO", core_formats.NO_VMCOREINFO_HINT)


class _PresentPages:
    """The physical memory of a kdump: a read of a missing page raises FaultError."""

    def __init__(self, prog: Program, absent: Sequence[Range]) -> None:
        self._prog = prog
        self._firsts = [first for first, _ in absent]
        self._ends = [end for _, end in absent]

    def read(self, address: int, count: int, _offset: int, _physical: bool) -> bytes:  # noqa: FBT001 - drgn's
        """Return bytes, as a memory reader of drgn. Raises FaultError."""
        first, last = address // PAGE_SIZE, (address + count - 1) // PAGE_SIZE
        # The first range that ends after the first page.
        i = bisect.bisect_right(self._ends, first)
        if i < len(self._ends) and self._firsts[i] <= last:
            at = max(first, self._firsts[i]) * PAGE_SIZE
            raise FaultError("the core lacks this page", max(at, address))
        return self._prog.read(address, count, physical=True)


def _prefer_bytes_in_file(prog: Program, headers: core_formats.elf.Headers, path: Path) -> None:
    """Add a memory segment for all bytes in the file, so that empty segments do not hide them."""
    file = _File(path)
    for segment in headers.held(path.stat().st_size):
        read = partial(file.read, segment.offset)
        prog.add_memory_segment(segment.start, segment.size, read, physical=True)


class _File:
    """A file that memory segments of drgn read; it is closed with the last of them."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._file)

    def read(self, start: int, address: int, count: int, offset: int, _physical: bool) -> bytes:  # noqa: FBT001 - drgn's
        """Return bytes of the segment at file offset `start`. Raises FaultError."""
        data = os.pread(self._file, count, start + offset)
        if len(data) < count:
            raise FaultError("the core is cut off", address + len(data))
        return data


def _gaps(headers: core_formats.elf.Headers | None) -> list[Range]:
    """Return the ranges of kernel addresses that no segment of the core covers."""
    gaps, at = [], ADDRESSES_OF_KERNEL
    rows = [] if headers is None else headers.segments[["virtual", "size"]].tolist()
    for start, size in sorted(rows):
        if start > at:
            gaps.append((at, start))
        at = max(at, start + size)
    # drgn keeps the size of a segment in 64 bits.
    return [*gaps, (at, _TOP - 1)] if at < _TOP - 1 else gaps
