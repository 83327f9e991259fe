# SPDX-License-Identifier: GPL-2.0-only
"""Notes and files that are longer than they can be: refused before anyone copies them."""

from pathlib import Path

import elf_builder
import pytest
from elf_builder import LONG_VMCOREINFO, X86_64, elf_core, note

from pageinspect.errors import PageInspectError
from pageinspect.target.core_formats import limits, prepare
from pageinspect.target.core_formats.limits import MAX_VMCOREINFO
from pageinspect.target.vmcoreinfo import read_file


def test_one_behind_other_notes_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        elf_builder,
        "note",
        lambda *of: note(b"CORE", bytes(335)) + note(b"QEMU", b"x") + note(*of),
    )
    path = tmp_path / "core"
    path.write_bytes(elf_core(X86_64, vmcoreinfo=LONG_VMCOREINFO))
    with pytest.raises(PageInspectError, match=r"claims 1,048,6\d\d bytes of VMCOREINFO"):
        prepare(path)
    path.write_bytes(elf_core(X86_64, vmcoreinfo=LONG_VMCOREINFO[:MAX_VMCOREINFO]))
    assert prepare(path).notes == ()


def test_notes_that_are_long_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MAX_NOTES", 4096)
    path = tmp_path / "core"
    path.write_bytes(elf_core(X86_64, vmcoreinfo=LONG_VMCOREINFO[:5000]))
    with pytest.raises(PageInspectError, match=r"claims 5,0\d\d bytes of notes, more than 4 KiB"):
        prepare(path)


def test_a_vmcoreinfo_that_is_given_is_bounded_too(tmp_path: Path) -> None:
    path = tmp_path / "vmcoreinfo"
    path.write_bytes(LONG_VMCOREINFO)
    with pytest.raises(PageInspectError, match="it is longer than 1 MiB"):
        read_file(path)
