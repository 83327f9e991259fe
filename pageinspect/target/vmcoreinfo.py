"""VMCOREINFO: what a kernel says about itself for those who read its memory from outside.

Lines of KEY=VALUE; Documentation/admin-guide/kdump/vmcoreinfo.rst of the kernel describes them.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ..errors import PageInspectError
from ..host.files import read_whole
from ..model.arch import KERNEL_HALF
from .core_formats.limits import MOST_VMCOREINFO

Info = Mapping[str, str]

HAS_MEM_MAP, IS_ONLINE, TAINT_ZONE_DEVICE = 2, 4, 16
"""Flags in a section's section_mem_map; they have not moved since they were introduced."""


_SMALL = re.compile(r"0|[1-9][0-9]{0,6}")
_FORMS = {
    "SYMBOL": re.compile(r"[0-9a-f]{1,16}"),
    "NUMBER": re.compile(r"-?(0|[1-9][0-9]{0,18})|0x[0-9a-f]{1,16}"),
    "SIZE": _SMALL,
    "OFFSET": _SMALL,
    "LENGTH": _SMALL,
    "PAGESIZE": _SMALL,
}
MOST_SECTIONS = 1 << 25
"""Of memory, that physical addresses of 52 bits have room for."""
DAMAGED = "the core is damaged or cut off: compare its size and checksum with the original"
_FLAGS = 0xFFF
_LARGEST_PAGE = 1 << 16
_HINT = "name the kernel's vmlinux with debug information: -s VMLINUX"


def parse(text: str) -> dict[str, str]:
    """Return the lines of VMCOREINFO by their keys; without those whose number is none."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {
        key: value
        for key, value in pairs
        if (form := _FORMS.get(key.partition("(")[0])) is None or form.fullmatch(value)
    }


def of(prog: Program) -> dict[str, str]:
    """Return the lines of VMCOREINFO that a Program knows, none where it knows none."""
    try:
        text = prog["VMCOREINFO"].string_().decode("ascii", "replace")
    except (LookupError, FaultError):
        return {}
    return parse(text)


def read_file(path: Path) -> str:
    """Return the text of VMCOREINFO in a file: the lines themselves, or the ELF note around them.

    Raises PageInspectError for what is neither.
    """
    try:
        data = read_whole(path, MOST_VMCOREINFO)
    except OSError as error:
        raise PageInspectError(
            f"cannot read {path}: {error.strerror}", "check the path of the VMCOREINFO"
        ) from None
    start = data.find(b"OSRELEASE=")
    text = data[max(start, 0) :].split(b"\0", 1)[0].decode("ascii", "replace")
    if start < 0 or "\nPAGESIZE=" not in text:
        raise PageInspectError(
            f"{path} is not VMCOREINFO: it has no OSRELEASE= and PAGESIZE=",
            "give the note's text, as in another dump of the same boot",
        )
    return text


def lookup(info: Info, key: str) -> str:
    """Return the value of a line; raises PageInspectError where there is none."""
    try:
        return info[key]
    except KeyError:
        raise PageInspectError(f"this kernel's VMCOREINFO has no usable {key}", _HINT) from None


def contradiction(what: str) -> PageInspectError:
    """Return the error for a value that cannot be."""
    return PageInspectError(f"this kernel's VMCOREINFO makes no sense: {what}", _HINT)


def number(info: Info, name: str) -> int | None:
    """Return NUMBER(name), or None."""
    value = info.get(f"NUMBER({name})")
    return None if value is None else int(value, 0)


def offset(info: Info, member: str) -> int:
    """Return OFFSET(member), as of page.flags; raises PageInspectError where there is none."""
    return int(lookup(info, f"OFFSET({member})"))


def size(info: Info, type_: str) -> int:
    """Return SIZE(type_), in bytes; raises PageInspectError where there is none."""
    return int(lookup(info, f"SIZE({type_})"))


def symbol(info: Info, name: str) -> int:
    """Return SYMBOL(name); raises PageInspectError where there is none."""
    return int(lookup(info, f"SYMBOL({name})"), 16)


def release_address(info: Info) -> int:
    """Return where the kernel has its release in memory: init_uts_ns.name.release.

    Raises PageInspectError.
    """
    name = symbol(info, "init_uts_ns") + offset(info, "uts_namespace.name")
    # Of struct new_utsname, the third text of 65 bytes.
    return name + 2 * 65


def check_roots(roots: npt.NDArray[np.uint64]) -> None:
    """Raise PageInspectError where two of the pointers of mem_section are one; 0 is for none."""
    used = roots[roots != 0]
    if len(np.unique(used)) < len(used):
        raise PageInspectError(
            "parts of this kernel's mem_section are in one and the same place", DAMAGED
        )


def page_table_levels(info: Info) -> int | None:
    """Return how many levels the kernel's page tables have, 4 or 5; None when it does not say."""
    enabled = number(info, "pgtable_l5_enabled")
    return None if enabled is None else 4 + (enabled == 1)


def kernel_half(info: Info, vmemmap: int) -> int:
    """Return the lowest kernel address.

    `vmemmap`, which KASLR puts anywhere in the kernel half, decides where VMCOREINFO does not say
    how many levels page tables have.
    """
    levels = page_table_levels(info)
    if levels is None:
        levels = 4 if vmemmap >= KERNEL_HALF[4] else 5
    return KERNEL_HALF[levels]


def sections(prog: Program, info: Info) -> tuple[list[int], int]:
    """Return the numbers of the memory sections that are online, and the vmemmap's address.

    What section_mem_map holds beside flags is the same for all sections with SPARSEMEM_VMEMMAP: the
    address that the struct page of pfn 0 has. Raises PageInspectError when they cannot be read.
    """
    page_size, width = int(lookup(info, "PAGESIZE")), size(info, "mem_section")
    where = offset(info, "mem_section.section_mem_map")
    if page_size > _LARGEST_PAGE or width % 8 or where % 8 or not where < width <= page_size:
        raise contradiction(f"section_mem_map at {where} of {width} bytes")
    per_root, length = page_size // width, int(lookup(info, "LENGTH(mem_section)"))
    if length * per_root > MOST_SECTIONS:
        raise contradiction(f"{length} parts of mem_section")
    try:
        roots = np.frombuffer(prog.read(symbol(info, "mem_section"), 8 * length), np.uint64)
        check_roots(roots)
        present = np.flatnonzero(roots)
        data = b"".join(prog.read(int(roots[i]), per_root * width) for i in present)
    except FaultError as error:
        raise PageInspectError(
            f"cannot read the memory sections of this kernel: {error}",
            DAMAGED,
        ) from None
    maps = np.frombuffer(data, np.uint64).reshape(-1, width // 8)[:, where // 8]
    used = np.flatnonzero(maps & np.uint64(HAS_MEM_MAP))
    bases = np.unique(maps[used] & np.uint64(~_FLAGS & (1 << 64) - 1))
    if len(bases) != 1:
        raise PageInspectError(
            "the memory sections of this kernel share no vmemmap",
            "pageinspect reads kernels with SPARSEMEM_VMEMMAP, as every distribution's is",
        )
    online = used[maps[used] & np.uint64(IS_ONLINE) != 0]
    numbers = present[online // per_root] * per_root + online % per_root
    return numbers.tolist(), int(bases[0])
