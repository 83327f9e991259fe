# SPDX-License-Identifier: GPL-2.0-only
import io
import os
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from kdump_builder import BLOCK, FROM_QEMU, FULL, core, flat
from synthetic import MODERN

from pageinspect.errors import PageInspectError
from pageinspect.model.provenance import Provenance
from pageinspect.report.types import TypesReport
from pageinspect.target import core_formats
from pageinspect.target.core_formats import flattened, kdump


def write(folder: Path, content: bytes) -> Path:
    path = folder / "core"
    path.write_bytes(content)
    return path


def test_pieces_come_in_any_order_and_the_later_holds() -> None:
    out = io.BytesIO()
    stream = flat((4, b"late"), (0, b"head"), (20, b"far"), (6, b"!"))
    flattened.rearrange(io.BytesIO(stream), out)
    assert out.getvalue() == b"headla!e".ljust(20, b"\0") + b"far"


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, (2 << 20) - 1])
def test_a_large_piece_is_whole(size: int) -> None:
    out = io.BytesIO()
    data = os.urandom(size)
    flattened.rearrange(io.BytesIO(flat((0, data))), out)
    assert out.getvalue() == data


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\x7fELF".ljust(BLOCK, b"\0"),
        flat((0, b"head"))[:-1],
        flat((0, b"head"))[:-16],
        flat((0, b"head"), end=False)[:-1],
        flat((-5, b"head")),
        flat((0, b"head"), end=False) + struct.pack(">qq", 9, 1 << 62),
        flat((0, b"head"), end=False) + struct.pack(">qq", 9, -7),
    ],
)
def test_what_is_no_flattened_dump_or_cut_off(stream: bytes) -> None:
    with pytest.raises(flattened.FlattenedError):
        flattened.rearrange(io.BytesIO(stream), io.BytesIO())


@pytest.mark.parametrize("content", [b"x", b"Linux version 6.1" * 9999, core(names=FULL)])
def test_most_files_are_opened_as_they_are(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, content)
    assert core_formats.prepare(path) == core_formats.PreparedCore(path)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert core_formats.prepare(tmp_path / "fifo") == core_formats.PreparedCore(tmp_path / "fifo")


def test_a_flattened_core_is_opened_as_it_is_with_advice(tmp_path: Path) -> None:
    path = write(tmp_path, flat((0, core(names=FULL))))
    opened = core_formats.prepare(path)
    assert opened.source == path
    (note,) = opened.notes
    assert f"makedumpfile -R CORE < {path}" in note


@pytest.mark.parametrize("is_flat", [False, True])
def test_a_part_of_a_split_dump_is_refused(tmp_path: Path, is_flat: bool) -> None:
    part = core(names=FULL, split=1)
    with pytest.raises(PageInspectError) as error:
        core_formats.prepare(write(tmp_path, flat((0, part)) if is_flat else part))
    assert "one part of a split dump" in error.value.message
    assert "makedumpfile --reassemble" in error.value.hint


@pytest.mark.parametrize("is_flat", [False, True])
def test_a_header_from_qemu_is_completed_in_a_copy(tmp_path: Path, is_flat: bool) -> None:
    plain = core(names=FROM_QEMU)
    # As QEMU does it: the headers first, in pieces of their own.
    stream = flat((0, plain[:464]), (BLOCK, plain[BLOCK : BLOCK + 104]), (464, plain[464:]))
    path = write(tmp_path, stream if is_flat else plain)
    before = path.read_bytes()
    opened = core_formats.prepare(path)
    assert isinstance(opened.source, int)
    with os.fdopen(opened.source, "rb") as file:
        file.seek(0)
        completed = file.read()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    (note,) = opened.notes
    assert "temporary copy" in note
    header = kdump.parse(completed)
    assert header is not None
    assert header.is_complete
    assert header.names["release"] == b"6.12.0-test"
    assert header.names["machine"] == b"x86_64"
    assert struct.unpack_from("<q", completed, BLOCK) == (-136314880,)
    assert completed[337:BLOCK] == plain[337:BLOCK]
    assert completed[BLOCK + 8 :] == plain[BLOCK + 8 :]


def test_without_vmcoreinfo_nothing_is_copied(tmp_path: Path) -> None:
    path = write(tmp_path, core(names=FROM_QEMU, vmcoreinfo=b""))
    with pytest.raises(PageInspectError, match="lacks VMCOREINFO") as error:
        core_formats.prepare(path)
    assert "-device vmcoreinfo" in error.value.hint


def test_no_room_for_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=BLOCK))
    with pytest.raises(PageInspectError, match="no room") as error:
        core_formats.prepare(write(tmp_path, core(names=FROM_QEMU)))
    assert "TMPDIR" in error.value.hint


@pytest.mark.parametrize("names", [FULL, FROM_QEMU])
@pytest.mark.parametrize("lost", [1, 16, 4096])
def test_a_flattened_dump_that_is_cut_off_says_so(
    tmp_path: Path, names: tuple[str, ...], lost: int
) -> None:
    stream = flat((0, core(names=names)))
    opened = core_formats.prepare(write(tmp_path, stream[:-lost]))
    assert isinstance(opened.source, int)
    os.close(opened.source)
    assert not opened.is_whole
    assert "is cut off" in opened.notes[0]
    assert "temporary copy" in opened.notes[1]


def test_notes_on_how_a_core_was_read_are_in_json() -> None:
    plain = Provenance("7.3.4-test", "core", "btf")
    noted = replace(plain, notes=("it is flattened",))
    assert "notes" not in TypesReport(plain, MODERN).to_json()["kernel"]
    assert TypesReport(noted, MODERN).to_json()["kernel"]["notes"] == ["it is flattened"]


def test_pieces_that_are_scattered_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flattened, "_SLACK", 1 << 16)
    # Each of 9 bytes, in a block of its own, later ones before earlier ones.
    scattered = flat(*((4096 * (1000 - i), b"scattered") for i in range(1000)))
    out = io.BytesIO()
    with pytest.raises(
        flattened.FlattenedError, match="scattered over far more space than they fill"
    ):
        flattened.rearrange(io.BytesIO(scattered), out)
    far = flat((0, b"head"), (1 << 40, b"far"))
    with pytest.raises(flattened.FlattenedError, match="scattered"):
        flattened.rearrange(io.BytesIO(far), io.BytesIO())
    # Small pieces that follow each other fill the blocks that they take.
    small = flat(*((9 * i, b"following") for i in range(10000)))
    out = io.BytesIO()
    flattened.rearrange(io.BytesIO(small), out)
    assert out.getvalue() == b"following" * 10000
