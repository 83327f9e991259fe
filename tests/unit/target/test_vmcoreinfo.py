# SPDX-License-Identifier: GPL-2.0-only
"""VMCOREINFO as a file, and the memory sections that it leads to."""

import struct
from pathlib import Path

import numpy as np
import pytest
from drgn import Architecture, Platform, Program
from places import DATA
from vmcoreinfo_texts import vmcoreinfo_of

from pageinspect.errors import PageInspectError
from pageinspect.layout import build_layout
from pageinspect.target import vmcoreinfo
from pageinspect.target.vmcoreinfo import check_section_roots, sections


def test_sections_that_cannot_be_read() -> None:
    info = vmcoreinfo_of("7.x")
    prog = Program(Platform(Architecture.X86_64))
    with pytest.raises(PageInspectError, match="memory sections") as error:
        build_layout(prog, info)
    assert "pageinspect audit" in error.value.hint


def test_a_file_with_the_text_or_the_note(tmp_path: Path) -> None:
    lines = (DATA / "vmcoreinfo_6.1.txt").read_bytes()
    plain, note = tmp_path / "text", tmp_path / "note"
    plain.write_bytes(lines)
    note.write_bytes(struct.pack("<III", 11, len(lines), 0) + b"VMCOREINFO\0\0" + lines + b"\0\0")
    assert vmcoreinfo.read_file(plain) == vmcoreinfo.read_file(note) == lines.decode()
    for nonsense in (b"", b"\xff" * 100, b"OSRELEASE=6.1"):
        plain.write_bytes(nonsense)
        with pytest.raises(PageInspectError, match="is not VMCOREINFO"):
            vmcoreinfo.read_file(plain)


def test_a_part_of_mem_section_is_a_place_of_its_own() -> None:
    check_section_roots(np.array([0, 0, 4096, 8192, 0], np.uint64))
    with pytest.raises(PageInspectError, match="have the same address"):
        check_section_roots(np.array([0, 4096, 8192, 4096], np.uint64))


def test_a_length_of_mem_section_that_cannot_be() -> None:
    info = {
        "PAGESIZE": "4096",
        "SIZE(mem_section)": "16",
        "OFFSET(mem_section.section_mem_map)": "0",
        "LENGTH(mem_section)": "9999999",
        "SYMBOL(mem_section)": "1000",
    }
    with pytest.raises(PageInspectError, match="9999999 parts of mem_section"):
        sections(Program(Platform(Architecture.X86_64)), info)
