# SPDX-License-Identifier: GPL-2.0-only
"""What is given as a core and is none, or is one of another machine: a line and a hint each."""

import json
import os
import resource
from pathlib import Path

import pytest
from dump_builder import Kdump
from elf_builder import AARCH64, I386, LONG_VMCOREINFO, X86_64, elf_core, refused
from elf_machine import PFNS, Machine
from kdump_builder import FULL, core, flat

from pageinspect.cli import parallel
from pageinspect.cli.isolation import run_isolated
from pageinspect.cli.main import main
from pageinspect.errors import Exit, PageInspectError


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (elf_core(AARCH64), "is of aarch64", "x86_64 kernels only"),
        (elf_core(I386, bits=32), "is of i386", "64-bit"),
        (elf_core(X86_64, kernel=False), "lacks VMCOREINFO", "vmcoreinfo"),
        (elf_core(X86_64), "size of memory sections", "SPARSEMEM"),
        (elf_core(X86_64)[:200], "is cut off in its headers", "copy it again"),
    ],
)
def test_cores_of_other_machines_and_kernels(
    tmp_path: Path, content: bytes, message: str, hint: str
) -> None:
    core = tmp_path / "core"
    core.write_bytes(content)
    said = refused("-c", core)
    assert message in said[0]
    assert hint in said[1]


def audited(core: Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(["audit", "-c", str(core), "--format", "json"])
    return status, *capfd.readouterr()


def test_what_is_left_of_a_core_is_audited(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = Kdump({pfn: os.urandom(4096) for pfn in (3, 4, 900)})
    core, content = tmp_path / "core", made.make()
    core.write_bytes(content[:-10])
    status, text, said = audited(core, capfd)
    answer = json.loads(text)
    assert status == Exit.FINDING
    assert answer["ranges"] == [{"start": 900, "end": 901, "pages": 1}]
    assert answer["state"] == "cut off"
    assert "the contents of 1 page of memory are missing" in said
    # In the bitmaps.
    core.write_bytes(content[:15000])
    status, text, said = audited(core, capfd)
    assert (status, text) == (Exit.INCOMPLETE, "")
    assert "is cut off in its bitmap" in said


def test_what_is_no_core_is_not_audited(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    core, fifo = tmp_path / "core", tmp_path / "fifo"
    core.write_bytes(b"text" * 5000)
    os.mkfifo(fifo)
    expected = (
        (core, "is not"),
        (fifo, "is not a regular file"),
        (tmp_path, "is a directory"),
        (tmp_path / "none", "no such file"),
    )
    for path, message in expected:
        status, text, said = audited(path, capfd)
        assert (status, text) == (Exit.ERROR, "")
        assert message in said


@pytest.mark.parametrize("option", ["-c", "-s"])
def test_a_path_that_is_not_a_regular_file_is_not_opened(tmp_path: Path, option: str) -> None:
    core, fifo = tmp_path / "core", tmp_path / "fifo"
    core.write_bytes(elf_core(X86_64))
    os.mkfifo(fifo)
    for path, message in ((fifo, "is not a regular file"), (tmp_path, "is a directory")):
        said = refused(option, path, *([] if option == "-c" else ["-c", core]))
        assert message in said[0]
    assert "is not a regular file" in refused("-c", "/dev/zero")[0]
    # A file that has no size, and no place to go to.
    assert "cannot read /proc/self/maps" in refused("-c", "/proc/self/maps")[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_core_that_the_user_may_not_read(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    core = tmp_path / "core"
    core.write_bytes(elf_core(X86_64))
    core.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)

    def as_nobody() -> int:
        os.setuid(65534)
        return main(["types", "-c", str(core)])

    assert run_isolated(as_nobody, core) == 1
    message, hint = capfd.readouterr().err.splitlines()
    assert "permission denied" in message
    assert "run as" in hint


CLAIMED = f"claims {len(LONG_VMCOREINFO):,} bytes of VMCOREINFO, more than 1 MiB"


@pytest.mark.parametrize("form", ["elf", "kdump", "flattened elf", "flattened kdump"])
def test_a_long_vmcoreinfo_is_refused(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (
        elf_core(X86_64, vmcoreinfo=LONG_VMCOREINFO)
        if "elf" in form
        else core(names=FULL, vmcoreinfo=LONG_VMCOREINFO)
    )
    if "flattened" in form:
        content = flat((0, content[:8192]), (8192, content[8192:]))
    path = tmp_path / "core"
    path.write_bytes(content)
    # Until it executes a program, a child has the memory of this process.
    own, before = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    message, hint = refused("-c", path)
    assert CLAIMED in message
    assert "take the dump again" in hint
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(own, before, 200 << 10)


def test_a_file_cut_off_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    mapped = machine.mapped()
    os.truncate(machine.path, 4096)
    with pytest.raises(PageInspectError, match="was ended by SIGBUS"):
        list(parallel.in_order(lambda first: int(mapped.read(first, PFNS).sum()), [0, PFNS], 2))
