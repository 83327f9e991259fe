# SPDX-License-Identifier: GPL-2.0-only
"""Reads VMCOREINFO: facts that a kernel exports for tools that read its memory from outside.

It has lines of KEY=VALUE, which the kernel's Documentation/admin-guide/kdump/vmcoreinfo.rst
describes.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ..errors import MISSING_MEMORY_HINT, PageInspectError
from ..host.files import read_whole
from ..model.arch import KERNEL_HALF
from .core_formats.limits import MAX_VMCOREINFO

Info = Mapping[str, str]

HAS_MEM_MAP, IS_ONLINE, TAINT_ZONE_DEVICE = 2, 4, 16
"""Flags in section_mem_map. Their values have never changed."""


_SMALL = re.compile(r"0|[1-9][0-9]{0,6}")
_FORMS = {
    "SYMBOL": re.compile(r"[0-9a-f]{1,16}"),
    "NUMBER": re.compile(r"-?(0|[1-9][0-9]{0,18})|0x[0-9a-f]{1,16}"),
    "SIZE": _SMALL,
    "OFFSET": _SMALL,
    "LENGTH": _SMALL,
    "PAGESIZE": _SMALL,
}
MAX_SECTIONS = 1 << 25
"""The number of memory sections in physical addresses of 52 bits."""
DAMAGED = "the core is damaged or cut off: compare its size and checksum with the original"
_FLAGS = 0xFFF
_LARGEST_PAGE = 1 << 16
_HINT = "give the kernel's vmlinux with debug information: -s VMLINUX"


def parse(text: str) -> dict[str, str]:
    """Return the lines of VMCOREINFO by key, without lines whose number is malformed."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {
        key: value
        for key, value in pairs
        if (form := _FORMS.get(key.partition("(")[0])) is None or form.fullmatch(value)
    }


def of_program(prog: Program) -> dict[str, str]:
    """Return the VMCOREINFO of a Program by key; empty if it has none."""
    try:
        text = prog["VMCOREINFO"].string_().decode("ascii", "replace")
    except (LookupError, FaultError):
        return {}
    return parse(text)


def read_file(path: Path) -> str:
    """Return the VMCOREINFO text in a file, which has the text itself or the ELF note.

    Raises PageInspectError if the file has neither.
    """
    try:
        data = read_whole(path, MAX_VMCOREINFO)
    except OSError as error:
        raise PageInspectError(
            f"cannot read {path}: {error.strerror}", "check the path of the VMCOREINFO"
        ) from None
    start = data.find(b"OSRELEASE=")
    text = data[max(start, 0) :].split(b"\0", 1)[0].decode("ascii", "replace")
    if start < 0 or "\nPAGESIZE=" not in text:
        raise PageInspectError(
            f"{path} is not VMCOREINFO: it has no OSRELEASE= and PAGESIZE=",
            "give the text of the note, such as from another dump of the same boot",
        )
    return text


def lookup(info: Info, key: str) -> str:
    """Return the value of a line; raises PageInspectError if it is missing."""
    try:
        return info[key]
    except KeyError:
        raise PageInspectError(f"this kernel's VMCOREINFO has no usable {key}", _HINT) from None


def contradiction(what: str) -> PageInspectError:
    """Return the error for an impossible value."""
    return PageInspectError(f"this kernel's VMCOREINFO is invalid: {what}", _HINT)


def number(info: Info, name: str) -> int | None:
    """Return NUMBER(name), or None."""
    value = info.get(f"NUMBER({name})")
    return None if value is None else int(value, 0)


def offset(info: Info, member: str) -> int:
    """Return OFFSET(member) in bytes, such as of page.flags; raises PageInspectError if missing."""
    return int(lookup(info, f"OFFSET({member})"))


def size(info: Info, type_: str) -> int:
    """Return SIZE(type_) in bytes; raises PageInspectError if it is missing."""
    return int(lookup(info, f"SIZE({type_})"))


def symbol(info: Info, name: str) -> int:
    """Return SYMBOL(name), an address; raises PageInspectError if it is missing."""
    return int(lookup(info, f"SYMBOL({name})"), 16)


def release_address(info: Info) -> int:
    """Return the address of the kernel release string: init_uts_ns.name.release.

    Raises PageInspectError.
    """
    return _name_address(info, 2)


def nodename_address(info: Info) -> int:
    """Return the address of the name of the machine: init_uts_ns.name.nodename.

    Raises PageInspectError.
    """
    return _name_address(info, 1)


def _name_address(info: Info, number: int) -> int:
    """Return the address of one of the strings of 65 bytes in struct new_utsname."""
    return symbol(info, "init_uts_ns") + offset(info, "uts_namespace.name") + number * 65


def check_section_roots(roots: npt.NDArray[np.uint64]) -> None:
    """Raise PageInspectError if two root pointers of mem_section are equal; 0 is an unused root."""
    # Not by np.unique(): it imports numpy.ma.
    used = np.sort(roots[roots != 0])
    if (used[1:] == used[:-1]).any():
        raise PageInspectError(
            "several parts of this kernel's mem_section have the same address", DAMAGED
        )


def page_table_levels(info: Info) -> int | None:
    """Return the number of page table levels, 4 or 5; None if VMCOREINFO does not have it."""
    enabled = number(info, "pgtable_l5_enabled")
    return None if enabled is None else 4 + (enabled == 1)


def kernel_half(info: Info, vmemmap: int) -> int:
    """Return the lowest kernel address.

    If VMCOREINFO does not have the number of page table levels, it is inferred from `vmemmap`,
    whose address KASLR chooses within the kernel half.
    """
    levels = page_table_levels(info)
    if levels is None:
        levels = 4 if vmemmap >= KERNEL_HALF[4] else 5
    return KERNEL_HALF[levels]


def sections(prog: Program, info: Info) -> tuple[list[int], int]:
    """Return the numbers of the online memory sections, and the address of the vmemmap.

    With SPARSEMEM_VMEMMAP, section_mem_map without its flags has the same value in all sections:
    the address of the struct page of pfn 0. Raises PageInspectError if sections cannot be read.
    """
    page_size, width = int(lookup(info, "PAGESIZE")), size(info, "mem_section")
    where = offset(info, "mem_section.section_mem_map")
    if page_size > _LARGEST_PAGE or width % 8 or where % 8 or not where < width <= page_size:
        raise contradiction(f"section_mem_map at {where} of {width} bytes")
    per_root, length = page_size // width, int(lookup(info, "LENGTH(mem_section)"))
    if length * per_root > MAX_SECTIONS:
        raise contradiction(f"{length} parts of mem_section")
    try:
        roots = np.frombuffer(prog.read(symbol(info, "mem_section"), 8 * length), np.uint64)
        check_section_roots(roots)
        present = np.flatnonzero(roots)
        data = b"".join(prog.read(int(roots[i]), per_root * width) for i in present)
    except FaultError as error:
        raise PageInspectError(
            f"cannot read the memory sections of this kernel: {error}",
            MISSING_MEMORY_HINT,
        ) from None
    maps = np.frombuffer(data, np.uint64).reshape(-1, width // 8)[:, where // 8]
    used = np.flatnonzero(maps & np.uint64(HAS_MEM_MAP))
    bases = np.unique(maps[used] & np.uint64(~_FLAGS & (1 << 64) - 1))
    if len(bases) != 1:
        raise PageInspectError(
            "the memory sections of this kernel share no vmemmap",
            "pageinspect reads kernels with SPARSEMEM_VMEMMAP, which all distributions set",
        )
    online = used[maps[used] & np.uint64(IS_ONLINE) != 0]
    numbers = present[online // per_root] * per_root + online % per_root
    return numbers.tolist(), int(bases[0])
