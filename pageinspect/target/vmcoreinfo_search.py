"""Finds VMCOREINFO in the memory of an ELF core that lacks the note.

The kernel keeps the text in a page of its own. Other texts may lie in memory too: of an earlier
boot, of the kernel that a capture kernel dumps, or in a file that somebody looked at. What is taken
has its kernel where it says, in page tables that the CPUs used if the core has their registers
(QEMU's note), and nothing else may claim the same.
"""

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from drgn import BadDataError, FaultError, Program

from ..errors import PageInspectError
from ..host.progress import getting_on
from ..model.arch import PAGE_SIZE
from . import vmcoreinfo
from .core_formats import elf
from .page_tables import PageTables, encryption_mask

_BEGIN = b"OSRELEASE="
_MOST_BYTES = 8192
_PIECE = 256 << 20
_MOST_TEXTS = 256
_NAME_BYTES = 65
_QEMU = b"QEMU"
_CR3_AT = 416
"""In QEMU's note on a CPU: behind two words, 18 registers and 10 segments are CR0 to CR4."""
_ROOT = 0x000FFFFFFFFFE000
"""Bit 12 tells the page table of user mode from the kernel's, with page table isolation."""
_GIVE = "give the note of this very boot: --vmcoreinfo FILE"


def find(
    path: Path, headers: elf.Headers, opened_with: Callable[[str], Program]
) -> tuple[str, int] | None:
    """Return the text, and how many others were passed over; None where there is none.

    `opened_with` opens the core with a text. Raises PageInspectError where several kernels are in
    it that may each be meant.
    """
    roots = [
        struct.unpack_from("<Q", note, _CR3_AT)[0]
        for name, _, note in elf.notes(headers.notes)
        if name == _QEMU and len(note) >= _CR3_AT + 8
    ]
    texts = list(dict.fromkeys(_texts(path)))
    there, running = [], []
    for text in texts:
        getting_on()
        info = vmcoreinfo.parse(text)
        try:
            prog = opened_with(text)
        except (PageInspectError, BadDataError, ValueError):
            # Another program's text about a kernel, say.
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
    # A note that is still being written has less.
    return max(left, key=len), len(texts) - len(left)


def _texts(path: Path) -> Iterator[str]:
    """Yield what may be VMCOREINFO, wherever it is in a file."""
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        found, size = 0, len(memory)
        for start in range(0, size, _PIECE):
            getting_on()
            end = min(start + _PIECE + len(_BEGIN) - 1, size)
            at = memory.find(_BEGIN, start, end)
            while at >= 0 and found < _MOST_TEXTS:
                text = memory[at : at + _MOST_BYTES].split(b"\0", 1)[0]
                if b"\nPAGESIZE=" in text and b"\nSYMBOL(swapper_pg_dir)=" in text:
                    found += 1
                    yield text.decode("ascii", "replace")
                at = memory.find(_BEGIN, at + 1, end)
            # It is the kernel's cache, but counts as this process's.
            memory.madvise(mmap.MADV_DONTNEED)


def _kernel(text: str) -> tuple[str, ...]:
    """Return what tells the kernels of two texts apart: release, build, and where it is."""
    info = vmcoreinfo.parse(text)
    keys = ("BUILD-ID", "KERNELOFFSET", "NUMBER(phys_base)", "SYMBOL(swapper_pg_dir)")
    return (info["OSRELEASE"], *(info.get(key, "") for key in keys))


def _release_at(prog: Program, info: vmcoreinfo.Info) -> tuple[int, int] | None:
    """Return the virtual and the physical address of the kernel's name for itself.

    None where that is not what VMCOREINFO says.
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
    """Return whether a CPU's page table maps an address of the kernel to this physical one."""
    mask = ~encryption_mask(info)
    for table in (root & _ROOT & mask, root & (_ROOT | PAGE_SIZE) & mask):
        try:
            if PageTables(prog, info, table).physical(address) == physical:
                return True
        except FaultError:
            continue
    return False
