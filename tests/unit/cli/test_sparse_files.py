# SPDX-License-Identifier: GPL-2.0-only
"""Files that are zeros for the most part, and disks without room."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pageinspect.cli.sparse_files import check_room, end_sparse, write_sparse
from pageinspect.errors import PageInspectError
from pageinspect.kernel.kpageflags_rules import check_length
from pageinspect.model.arch import SECTION_PFNS

ZEROS = bytes(1 << 20)


def test_zeros_take_no_room_and_the_file_has_its_length(tmp_path: Path) -> None:
    path = tmp_path / "file"
    parts = [ZEROS, b"some", ZEROS, bytes(7), b"more", ZEROS]
    with path.open("wb") as stream:
        for part in parts:
            write_sparse(stream, part)
        end_sparse(stream)
    assert path.read_bytes() == b"".join(parts)
    assert path.stat().st_blocks * 512 < len(ZEROS)


def test_a_pipe_gets_every_byte() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream:
        check_room([stream], [1 << 60])
        write_sparse(stream, bytes(100))
        end_sparse(stream)
    assert os.read(reader, 1000) == bytes(100)
    os.close(reader)


def test_what_has_no_room_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as one, (tmp_path / "b").open("wb") as other:
        disk = os.fstatvfs(one.fileno())
        most = disk.f_bavail * disk.f_frsize
        check_room([one], [most // 2])
        with pytest.raises(PageInspectError, match="their disk has room for"):
            check_room([one, other], [most * 3 // 4, most * 3 // 4])


def test_a_max_pfn_beyond_all_sections_is_refused() -> None:
    prog = {"__highest_present_section_nr": SimpleNamespace(value_=lambda: 1)}
    check_length(prog, 2 * SECTION_PFNS)  # type: ignore[arg-type]
    with pytest.raises(PageInspectError, match="max_pfn is invalid: 0x10001"):
        check_length(prog, 2 * SECTION_PFNS + 1)  # type: ignore[arg-type]
    check_length({}, 1 << 40)  # type: ignore[arg-type]
