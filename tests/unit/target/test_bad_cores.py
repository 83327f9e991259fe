"""What is given as a core and is none, or is one of another machine: a line and a hint each."""

import os
from pathlib import Path

import numpy as np
import pytest
from drgn import Architecture, FaultError, Platform, Program
from elf_builder import AARCH64, I386, X86_64, elf_core, refused
from synthetic import MODERN, VMEMMAP, replace

from pageinspect.cli.isolation import apart
from pageinspect.cli.main import main
from pageinspect.model.arch import SECTION_PFNS
from pageinspect.vmemmap.reader import read_folio_heads, walk


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (elf_core(AARCH64), "is of aarch64", "x86_64 kernels only"),
        (elf_core(I386, bits=32), "is of i386", "64-bit"),
        (elf_core(X86_64, kernel=False), "lacks VMCOREINFO", "vmcoreinfo"),
        (elf_core(X86_64), "memory sections that no", "SPARSEMEM"),
        (elf_core(X86_64)[:200], "is cut off in its headers", "copy it again"),
    ],
)
def test_cores_of_others(tmp_path: Path, content: bytes, message: str, hint: str) -> None:
    core = tmp_path / "core"
    core.write_bytes(content)
    said = refused("-c", core)
    assert message in said[0]
    assert hint in said[1]


@pytest.mark.parametrize("option", ["-c", "-s"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, option: str) -> None:
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
def test_a_core_of_someone_else(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    core = tmp_path / "core"
    core.write_bytes(elf_core(X86_64))
    core.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)

    def as_nobody() -> int:
        os.setuid(65534)
        return main(["types", "-c", str(core)])

    assert apart(as_nobody, core) == 1
    message, hint = capfd.readouterr().err.splitlines()
    assert "permission denied" in message
    assert "run as" in hint


def memory(size: int, first: int, holes: set[int]) -> Program:
    """Return a Program with 4096 struct pages of `size` bytes from pfn `first`, but for holes.

    Each word says in which struct page it is; the pages of memory numbered in `holes` are absent.
    """
    start = VMEMMAP + first * size
    data = np.repeat(np.arange(first, first + 4096, dtype=np.uint64), size // 8).tobytes()
    prog = Program(Platform(Architecture.X86_64))

    def read(address: int, count: int, _offset: int, _physical: bool) -> bytes:
        pages = range(address // 4096, (address + count - 1) // 4096 + 1)
        if any(page - start // 4096 in holes for page in pages):
            raise FaultError("a hole", address)
        return data[address - start : address - start + count]

    prog.add_memory_segment(start, len(data), read)
    return prog


@pytest.mark.parametrize("size", [56, 64, 72, 80, 128])
@pytest.mark.parametrize("first", [0, 1000])
def test_struct_pages_of_any_size_around_holes(size: int, first: int) -> None:
    layout = replace(MODERN, struct_size=size)
    holes = {3, 4, 17}
    span = [(first, first + 4096)]
    (batch,) = walk(memory(size, first, holes), layout, span, span)
    assert batch.words.shape == (4096, size // 8)
    base = VMEMMAP + first * size
    for i in range(4096):
        begin = base + i * size
        touched = {(at - base // 4096 * 4096) // 4096 for at in (begin, begin + size - 1)}
        whole = not touched & holes
        assert batch.readable is not None
        assert batch.readable[i] == whole, i
        assert set(batch.words[i].tolist()) == {first + i if whole else 0}


def test_heads_without_number_are_not_all_read() -> None:
    reads = 0
    prog = Program(Platform(Architecture.X86_64))

    def read(_address: int, count: int, _offset: int, _physical: bool) -> bytes:
        nonlocal reads
        reads += 1
        return bytes(count)

    prog.add_memory_segment(VMEMMAP, 1 << 40, read)
    heads = read_folio_heads(prog, MODERN, np.arange(0, 60000, 2, dtype=np.int64))
    assert heads.words.shape == (30000, 16)
    assert heads.readable is None
    assert reads <= 64


def test_heads_that_cannot_be_read_are_told() -> None:
    prog = Program(Platform(Architecture.X86_64))
    # The struct pages of the pfns up to 64, and from 128 on.
    for start, size in ((0, 4096), (8192, 1 << 20)):
        prog.add_memory_segment(VMEMMAP + start, size, lambda _a, n, _o, _p: bytes([7]) * n)
    heads = read_folio_heads(prog, MODERN, np.array([8, 63, 64, 127, 128]))
    assert heads.readable is not None
    assert heads.readable.tolist() == [
        [True, True],
        [True, False],
        [False, False],
        [False, True],
        [True, True],
    ]


def test_nothing_follows_a_head_at_the_end_of_a_section() -> None:
    prog = Program(Platform(Architecture.X86_64))
    size = SECTION_PFNS * MODERN.struct_size
    prog.add_memory_segment(VMEMMAP, 2 * size, lambda _a, n, _o, _p: bytes([7]) * n)
    heads = read_folio_heads(prog, MODERN, np.array([SECTION_PFNS - 1, SECTION_PFNS]))
    assert heads.words.any(axis=1).all()
    assert heads.word(MODERN.struct_size).astype(bool).tolist() == [False, True]
