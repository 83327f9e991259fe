# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel offers is found by trying it, over calls that refuse."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pageinspect.trace import abilities as module
from pageinspect.trace import bpf_calls
from pageinspect.trace.abilities import Abilities, abilities, has_btf, preempts_programs
from pageinspect.trace.bpf_calls import MapShape


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with files of a kernel that has all."""
    for name, text in (("LIVE_BTF", "types"), ("KALLSYMS", "0 T bpf_probe_read_kernel\n")):
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setattr(module, name, path)
    monkeypatch.setattr(bpf_calls, "create_map", lambda _: os.open("/dev/null", os.O_RDONLY))
    abilities.cache_clear()
    yield tmp_path
    abilities.cache_clear()


@pytest.mark.usefixtures("folder")
def test_a_new_kernel_has_all() -> None:
    assert abilities() == Abilities()
    assert abilities().defines() == {}


@pytest.mark.parametrize("content", [None, ""])
def test_types_that_are_not_there(folder: Path, content: str | None) -> None:
    btf = folder / "LIVE_BTF"
    btf.unlink() if content is None else btf.write_text(content)
    assert not has_btf()
    assert abilities().defines() == {"PLAIN_TRACEPOINT": "1"}


@pytest.mark.parametrize(("number", "has"), [(errno.EINVAL, False), (errno.EPERM, True)])
@pytest.mark.usefixtures("folder")
def test_a_ring_buffer_that_is_refused(
    monkeypatch: pytest.MonkeyPatch, number: int, *, has: bool
) -> None:
    """Without permission, loading the program says so."""
    monkeypatch.setattr(bpf_calls, "create_map", refuse(number))
    assert abilities().ring_buffer is has


def refuse(number: int) -> Callable[[MapShape], int]:
    def create_map(shape: MapShape) -> int:
        assert shape.max_entries & shape.max_entries - 1 == 0
        raise OSError(number, os.strerror(number))

    return create_map


def test_a_helper_that_is_not_among_the_symbols(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a ring buffer, which is newer."""
    monkeypatch.setattr(bpf_calls, "create_map", refuse(errno.EINVAL))
    assert abilities().defines() == {"PERF_BUFFER": "1"}
    abilities.cache_clear()
    (folder / "KALLSYMS").write_text("0 T bpf_probe_read\n0 T bpf_probe_read_kernel_str\n")
    assert abilities().defines() == {"PERF_BUFFER": "1", "PROBE_READ": "1"}


@pytest.mark.parametrize(
    ("types", "symbols", "preempts"),
    [
        (b"\0init_srcu_struct_fast\0", ("tracepoint_srcu", "preempt_schedule"), True),
        (b"\0init_srcu_struct_fast\0", ("tracepoint_srcu",), False),
        (b"\0init_srcu_struct_fast\0", ("preempt_schedule",), False),
        (b"\0init_srcu_struct\0", ("tracepoint_srcu", "preempt_schedule"), False),
        (None, ("tracepoint_srcu", "preempt_schedule"), False),
    ],
)
def test_tasks_are_preempted_in_programs_of_newer_kernels(
    folder: Path, types: bytes | None, symbols: tuple[str, ...], *, preempts: bool
) -> None:
    (folder / "KALLSYMS").write_text("".join(f"0 T {name}\n" for name in symbols))
    btf = folder / "LIVE_BTF"
    btf.unlink() if types is None else btf.write_bytes(types)
    assert preempts_programs() is preempts
