# SPDX-License-Identifier: GPL-2.0-only
"""VMCOREINFO found in the memory of a core, where several kernels left theirs."""

import re
import struct
from pathlib import Path

import pytest
from elf_builder import elf, segment
from places import DATA

from pageinspect.errors import PageInspectError
from pageinspect.model.elf import LOAD, NOTE
from pageinspect.target.open import open_target
from pageinspect.target.symbols.sources import SymbolOptions

PAGE = 4096
IMAGE = 0xFFFFFFFF80000000
LEAF = 2 << 20
SIZE = 2 * LEAF
TEMPLATE = (DATA / "vmcoreinfo_6.12.txt").read_text()
RELEASE_AT = 2 * 65


class Memory:
    """4 MiB of memory, in which kernels have page tables, a name and VMCOREINFO."""

    def __init__(self) -> None:
        self.bytes = bytearray(SIZE)

    def add_kernel(self, release: str, root: int, leaf: int, *, lives: bool = True) -> str:
        """Put a kernel into the pages from `root` on; its image is the 2 MiB number `leaf`."""
        address = IMAGE + (16 + leaf) * LEAF
        for table, shift, entry in (
            (root, 39, root + PAGE | 1),
            (root + PAGE, 30, root + 2 * PAGE | 1),
            (root + 2 * PAGE, 21, leaf * LEAF | 0x81),
        ):
            struct.pack_into("<Q", self.bytes, table + 8 * (address >> shift & 511), entry)
        if lives:
            name = leaf * LEAF + LEAF // 2 + RELEASE_AT
            self.bytes[name : name + len(release)] = release.encode()
        text = TEMPLATE
        for key, value in (
            ("OSRELEASE", release),
            (r"SYMBOL\(init_uts_ns\)", f"{address + LEAF // 2:x}"),
            (r"SYMBOL\(swapper_pg_dir\)", f"{IMAGE + root:x}"),
            (r"NUMBER\(phys_base\)", "0"),
        ):
            text = re.sub(rf"^({key})=.*$", rf"\g<1>={value}", text, flags=re.MULTILINE)
        at = root + 3 * PAGE
        self.bytes[at : at + len(text)] = text.encode()
        return text

    def core(self, folder: Path, *cr3: int) -> Path:
        """Write an ELF core; each CPU has QEMU's note, with its CR3."""
        notes = b"".join(
            struct.pack("<III8s", 5, 440, 0, b"QEMU") + struct.pack("<416xQ16x", root)
            for root in cr3
        )
        headers = elf(
            segment(NOTE, 232, 0, len(notes)),
            *(segment(LOAD, PAGE + start, start, LEAF) for start in (0, LEAF)),
        )
        path = folder / "core"
        path.write_bytes((headers + notes).ljust(PAGE, b"\0") + self.bytes)
        return path


def release_of(core: Path) -> str:
    """Return the release of the kernel that is found; the core has little else of it."""
    target = open_target(core, SymbolOptions(only="vmcoreinfo"))
    assert "the text was found in its memory" in target.provenance.notes[-1]
    return target.provenance.release


def test_the_kernel_that_runs_is_found(tmp_path: Path) -> None:
    memory = Memory()
    # A capture kernel, the kernel that it is to dump, and what an earlier boot left.
    memory.add_kernel("6.12.0-capture", 0x10000, 0)
    memory.add_kernel("6.12.0-crashed", 0x20000, 1)
    memory.add_kernel("6.6.0-earlier", 0x30000, 1, lives=False)
    assert release_of(memory.core(tmp_path, 0x10000)) == "6.12.0-capture"
    assert release_of(memory.core(tmp_path, 0x20000)) == "6.12.0-crashed"
    # In user mode, with page table isolation.
    assert release_of(memory.core(tmp_path, 0x20000 | 0x1000 | 0x803)) == "6.12.0-crashed"


def test_a_kernel_that_is_overwritten_is_passed_over(tmp_path: Path) -> None:
    memory = Memory()
    memory.add_kernel("6.12.0-here", 0x10000, 0)
    memory.add_kernel("6.6.0-earlier", 0x30000, 1, lives=False)
    assert release_of(memory.core(tmp_path, 0xFF0000)) == "6.12.0-here"


def test_two_kernels_that_may_both_be_meant(tmp_path: Path) -> None:
    memory = Memory()
    memory.add_kernel("6.12.0-one", 0x10000, 0)
    memory.add_kernel("6.12.0-two", 0x20000, 1)
    with pytest.raises(PageInspectError, match=r"more than one kernel.*6.12.0-one, 6") as error:
        open_target(memory.core(tmp_path))
    assert "--vmcoreinfo" in error.value.hint


def test_memory_without_a_kernel(tmp_path: Path) -> None:
    memory = Memory()
    memory.bytes[PAGE] = 1
    memory.add_kernel("6.6.0-earlier", 0x30000, 1, lives=False)
    with pytest.raises(PageInspectError, match="lacks VMCOREINFO") as error:
        open_target(memory.core(tmp_path, 0x30000))
    assert "--vmcoreinfo" in error.value.hint


@pytest.mark.parametrize("line", ["NUMBER(phys_base)=one", "NUMBER(phys_base)=", "PAGESIZE=0"])
def test_a_text_that_no_kernel_wrote_is_passed_over(tmp_path: Path, line: str) -> None:
    memory = Memory()
    memory.add_kernel("6.12.0-here", 0x10000, 0)
    key = line.partition("=")[0]
    made = re.sub(rf"^{re.escape(key)}=.*$", line, TEMPLATE, flags=re.MULTILINE).encode()
    memory.bytes[0x40000 : 0x40000 + len(made)] = made
    assert release_of(memory.core(tmp_path, 0x10000)) == "6.12.0-here"
