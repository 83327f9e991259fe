# SPDX-License-Identifier: GPL-2.0-only
"""Searches the memory of an ELF core without the VMCOREINFO note for its text.

The kernel keeps the text in a page. Memory may contain other such texts: of an earlier boot, of the
kernel that a capture kernel dumps, or in cached files. A text is accepted if its kernel's release
string is at the address in the text. If the core has the CPUs' registers (QEMU's note), their page
tables must map this address as well. Texts of more than one kernel are an error.
"""

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from drgn import BadDataError, FaultError, Program

from ..errors import PageInspectError
from ..host.progress import note_progress
from ..model.arch import PAGE_SIZE, ROOT_ADDRESS, ROOT_IN_QEMU_NOTE
from . import vmcoreinfo
from .core_formats import elf
from .page_tables import PageTables, encryption_mask

_BEGIN = b"OSRELEASE="
_MAX_BYTES = 8192
_PIECE = 256 << 20
_MAX_TEXTS = 256
_NAME_BYTES = 65
_QEMU = b"QEMU"
_GIVE = "give the note of the same boot: --vmcoreinfo FILE"


def find(
    path: Path, headers: elf.Headers, opened_with: Callable[[str], Program]
) -> tuple[str, int] | None:
    """Return the VMCOREINFO text, and the number of rejected texts; None if there is no text.

    `opened_with` opens the core with a text as its VMCOREINFO. Raises PageInspectError if texts of
    several kernels are accepted.
    """
    roots = [
        struct.unpack_from("<Q", note, ROOT_IN_QEMU_NOTE)[0]
        for name, _, note in elf.notes(headers.notes)
        if name == _QEMU and len(note) >= ROOT_IN_QEMU_NOTE + 8
    ]
    texts = list(dict.fromkeys(_texts(path)))
    there, running = [], []
    for text in texts:
        note_progress()
        info = vmcoreinfo.parse(text)
        try:
            prog = opened_with(text)
        except (PageInspectError, BadDataError, ValueError):
            # Not a valid VMCOREINFO, such as text of a program that parses it.
            continue
        where = _release_at(prog, info)
        if where is None:
            continue
        there.append(text)
        if any(_maps_alike(prog, info, root, *where) for root in roots):
            running.append(text)
    left = running or there
    kernels = {_kernel(text): text for text in left}
    if len(kernels) > 1:
        names = ", ".join(sorted(name for name, *_ in kernels))
        raise PageInspectError(f"{path} has more than one kernel in its memory: {names}", _GIVE)
    if not left:
        return None
    # The longest text: a copy that was still being written is shorter.
    return max(left, key=len), len(texts) - len(left)


def _texts(path: Path) -> Iterator[str]:
    """Yield each text in a file that may be VMCOREINFO."""
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        found, size = 0, len(memory)
        for start in range(0, size, _PIECE):
            note_progress()
            end = min(start + _PIECE + len(_BEGIN) - 1, size)
            at = memory.find(_BEGIN, start, end)
            while at >= 0 and found < _MAX_TEXTS:
                text = memory[at : at + _MAX_BYTES].split(b"\0", 1)[0]
                if b"\nPAGESIZE=" in text and b"\nSYMBOL(swapper_pg_dir)=" in text:
                    found += 1
                    yield text.decode("ascii", "replace")
                at = memory.find(_BEGIN, at + 1, end)
            # Pages of the page cache count as memory of this process while they are mapped.
            memory.madvise(mmap.MADV_DONTNEED)


def _kernel(text: str) -> tuple[str, ...]:
    """Return what identifies the kernel of a text: release, build id and addresses."""
    info = vmcoreinfo.parse(text)
    keys = ("BUILD-ID", "KERNELOFFSET", "NUMBER(phys_base)", "SYMBOL(swapper_pg_dir)")
    return (info["OSRELEASE"], *(info.get(key, "") for key in keys))


def _release_at(prog: Program, info: vmcoreinfo.Info) -> tuple[int, int] | None:
    """Return the virtual and physical address of the kernel's release string.

    None if the string there differs from VMCOREINFO's OSRELEASE.
    """
    try:
        address = vmcoreinfo.release_address(info)
        physical = PageTables(prog, info).physical(address)
        name = prog.read(physical, _NAME_BYTES, physical=True).split(b"\0", 1)[0]
    except (PageInspectError, FaultError, KeyError, ValueError):
        return None
    return (address, physical) if name == info["OSRELEASE"].encode() else None


def _maps_alike(
    prog: Program, info: vmcoreinfo.Info, root: int, address: int, physical: int
) -> bool:
    """Return whether the page table in a CPU's CR3 (`root`) maps `address` to `physical`."""
    mask = ~encryption_mask(info)
    for table in (root & ROOT_ADDRESS & mask, root & (ROOT_ADDRESS | PAGE_SIZE) & mask):
        try:
            if PageTables(prog, info, table).physical(address) == physical:
                return True
        except FaultError:
            continue
    return False
