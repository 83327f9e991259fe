# SPDX-License-Identifier: GPL-2.0-only
"""Sizes of stack frames from ORC tables made by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pageinspect.trace.frame_sizes import (
    _ORC,
    BLOCK_BYTES,
    OUTSIDE,
    UNKNOWN,
    CallPath,
    FrameSizes,
    frame_sizes,
    functions_of,
    read_frame_sizes,
    stack_pointer,
    words_of,
)

SP, BP = 3, 2
CALL = 0x200
"""The type of an entry, above its registers."""
ENTRIES = np.array(
    [
        (8, 0, CALL | SP),
        (64, -16, CALL | SP),
        (16, -16, CALL | BP),
        (2048, 0, CALL | SP),
        (0, 0, 0),
    ],
    _ORC,
)
IPS = np.array([100, 110, 120, 130, 140])
TEXT = 0xFFFF_FFFF_8100_0000
KALLSYMS = f"""\
{TEXT - 16:x} T before
{TEXT:x} T _stext
{TEXT + 100:x} t alloc_slab_page.isra.0
{TEXT + 150:x} T caller
{TEXT + 150:x} T same_place
{TEXT + 1020:x} T alloc_pages_noprof
{TEXT + 1030:x} t alloc_slab_page.cold
{TEXT + 1040:x} T _etext
ffffffffc0000000 t alloc_slab_page\t[module]
"""


def test_each_byte_of_code_has_the_frame_of_its_entry() -> None:
    words = words_of(IPS, ENTRIES, SP, 95, 145).tolist()
    assert words[:5] == [UNKNOWN] * 5
    assert words[5:25] == [1] * 10 + [8] * 10
    # Counted from the frame pointer; longer than a byte can say; no frame at all.
    assert words[25:] == [UNKNOWN] * 25


def test_a_function_may_begin_and_end_within_entries() -> None:
    assert words_of(IPS, ENTRIES, SP, 105, 115).tolist() == [1] * 5 + [8] * 5


def test_the_stack_pointer_is_what_functions_begin_at() -> None:
    assert stack_pointer(ENTRIES) == SP
    older = np.array([(8, 0, 5), (8, 0, 4), (8, 0, 5), (16, 0, 4), (16, 0, 4)], _ORC)
    assert stack_pointer(older) == 5


def test_tables_are_of_blocks_that_have_functions_of_the_path() -> None:
    ips, entries = np.array([0]), np.array([(32, 0, CALL | SP)] * 1, _ORC)
    entries = np.append(entries, np.array([(8, 0, CALL | SP)], _ORC))
    ips = np.append(ips, 5 * BLOCK_BYTES)
    border = 2 * BLOCK_BYTES
    sizes = frame_sizes(
        (0, 4 * BLOCK_BYTES + 1),
        [(border - 8, border + 4)],
        [(border + 4, border + 6)],
        ips,
        entries,
    )
    assert sizes.blocks.tolist() == [0, 1, 2, 0, 0]
    assert sizes.tables[0].tolist() == [OUTSIDE] * BLOCK_BYTES
    assert sizes.tables[1].tolist() == [OUTSIDE] * (BLOCK_BYTES - 8) + [4] * 8
    assert sizes.tables[2].tolist()[:7] == [4] * 4 + [UNKNOWN] * 2 + [OUTSIDE]
    assert sizes.defines() == {"TEXT_BLOCKS": "5", "FRAME_TABLES": "3"}


def test_all_parts_of_a_function_are_found() -> None:
    text = TEXT, TEXT + 1040
    wanted = {"alloc_slab_page", "alloc_pages_noprof", "before"}.__contains__
    assert [(name, a - TEXT, b - TEXT) for name, a, b in functions_of(KALLSYMS, text, wanted)] == [
        ("alloc_slab_page", 100, 150),
        ("alloc_pages_noprof", 1020, 1030),
        ("alloc_slab_page", 1030, 1040),
    ]


class Kernel:
    """The symbols and the ORC tables of a kernel."""

    def __init__(self, symbols: dict[str, int], memory: dict[int, bytes]) -> None:
        self._symbols, self._memory = symbols, memory

    def symbol(self, name: str) -> Any:
        return SimpleNamespace(address=self._symbols[name])

    def read(self, address: int, size: int) -> bytes:
        return self._memory[address][:size]


@pytest.fixture
def kallsyms(tmp_path: Path) -> Path:
    path = tmp_path / "kallsyms"
    path.write_text(KALLSYMS)
    return path


def test_tables_of_the_running_kernel(kallsyms: Path) -> None:
    at, entries_at = TEXT + 0x100_0000, TEXT + 0x200_0000
    offsets = np.array([TEXT + int(ip) - (at + 4 * i) for i, ip in enumerate(IPS)], np.int32)
    symbols = {
        "_stext": TEXT,
        "_etext": TEXT + 1040,
        "__start_orc_unwind": entries_at,
        "__start_orc_unwind_ip": at,
        "__stop_orc_unwind_ip": at + 4 * len(IPS),
    }
    memory = {at: offsets.tobytes(), entries_at: ENTRIES.tobytes()}
    prog = cast("Any", Kernel(symbols, memory))
    path = frozenset({"alloc_slab_page", "alloc_pages_noprof"})
    paths = [CallPath(path, "mm_page_alloc")]
    sizes = read_frame_sizes(prog, paths, ["alloc_pages_noprof"], kallsyms)
    assert sizes is not None
    assert sizes.text == TEXT
    assert sizes.blocks.tolist() == [1, 2]
    assert sizes.tables[1][95:125].tolist() == [OUTSIDE] * 5 + [1] * 10 + [8] * 10 + [UNKNOWN] * 5
    # A function that is hooked.
    assert sizes.tables[1][1019:].tolist() == [OUTSIDE] + [UNKNOWN] * 4


def test_two_paths_in_the_same_code() -> None:
    tables = np.arange(4 * BLOCK_BYTES, dtype=np.uint8).reshape(4, BLOCK_BYTES)
    first = FrameSizes(TEXT, np.array([0, 1, 0], np.uint64), tables[:2])
    second = FrameSizes(TEXT, np.array([0, 1, 1], np.uint64), tables[2:])
    both = first.beside(second)
    # Table 2 is the second path's table of all other functions.
    assert [divmod(block, 1 << 32) for block in both.blocks.tolist()] == [(0, 0), (3, 1), (3, 0)]
    assert both.tables[3].tolist() == tables[3].tolist()
    assert both.defines() == {"TEXT_BLOCKS": "3", "FRAME_TABLES": "4"}


def test_each_path_has_the_functions_of_its_tracepoint() -> None:
    assert CallPath(frozenset({"f"}), "t").names == {"f", "__bpf_trace_t", "__traceiter_t"}


def test_a_kernel_without_orc_tables_has_none(kallsyms: Path) -> None:
    prog = cast("Any", Kernel({"_stext": TEXT, "_etext": TEXT + 1040}, {}))
    assert read_frame_sizes(prog, [], (), kallsyms) is None
