"""Notes and files that are longer than they can be: refused before anyone copies them."""

import resource
from pathlib import Path

import elf_builder
import pytest
from elf_builder import X86_64, elf_core, note, refused
from kdump_builder import FULL, core, flat

from pageinspect.errors import PageInspectError
from pageinspect.target.core_formats import limits, prepare
from pageinspect.target.core_formats.limits import MOST_VMCOREINFO
from pageinspect.target.vmcoreinfo import read_file

LONG = b"OSRELEASE=6.12.0\nPAGESIZE=4096\n" + b"X=1\n" * (MOST_VMCOREINFO // 4)
CLAIMED = f"claims {len(LONG):,} bytes of VMCOREINFO, more than 1 MiB"


def long_elf(monkeypatch: pytest.MonkeyPatch, text: bytes = LONG) -> bytes:
    monkeypatch.setattr(elf_builder, "VMCOREINFO", text)
    return elf_core(X86_64)


@pytest.mark.parametrize("form", ["elf", "kdump", "flattened elf", "flattened kdump"])
def test_a_long_vmcoreinfo_is_refused(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = long_elf(monkeypatch) if "elf" in form else core(names=FULL, vmcoreinfo=LONG)
    if "flattened" in form:
        content = flat((0, content[:8192]), (8192, content[8192:]))
    path = tmp_path / "core"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    message, hint = refused("-c", path)
    assert CLAIMED in message
    assert "take the dump again" in hint
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(before, 200 << 10)


def test_one_behind_other_notes_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        elf_builder,
        "note",
        lambda *of: note(b"CORE", bytes(335)) + note(b"QEMU", b"x") + note(*of),
    )
    path = tmp_path / "core"
    path.write_bytes(long_elf(monkeypatch))
    with pytest.raises(PageInspectError, match=r"claims 1,048,6\d\d bytes of VMCOREINFO"):
        prepare(path)
    path.write_bytes(long_elf(monkeypatch, LONG[:MOST_VMCOREINFO]))
    assert prepare(path).notes == ()


def test_notes_that_are_long_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_NOTES", 4096)
    path = tmp_path / "core"
    path.write_bytes(long_elf(monkeypatch, LONG[:5000]))
    with pytest.raises(PageInspectError, match=r"claims 5,0\d\d bytes of notes, more than 4 KiB"):
        prepare(path)


def test_a_vmcoreinfo_that_is_given_is_bounded_too(tmp_path: Path) -> None:
    path = tmp_path / "vmcoreinfo"
    path.write_bytes(LONG)
    with pytest.raises(PageInspectError, match="it is longer than 1 MiB"):
        read_file(path)
