# SPDX-License-Identifier: GPL-2.0-only
"""What is given to bpf(), against the kernel's own header as the compiler reads it."""

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pageinspect.doctor import syscalls
from pageinspect.trace import bpf_calls as module
from pageinspect.trace import compiled, kprobe, nested, perf_buffer, ring_buffer

HEADER = Path("/usr/include/linux/bpf.h")


# The members of union bpf_attr that these are inside of.
PREFIXES = {module.Open: "raw_tracepoint.", module.Batch: "batch.", module.Info: "info."}


def as_compiled(tmp_path: Path, expressions: Sequence[str]) -> list[int]:
    """Return the values of constant expressions over <linux/bpf.h>."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not HEADER.exists():
        pytest.skip("no C compiler, or no <linux/bpf.h>")
    source, library = tmp_path / "values.c", tmp_path / "values.so"
    source.write_text(
        "#include <stddef.h>\n#include <sys/ioctl.h>\n"
        "#include <linux/bpf.h>\n#include <linux/perf_event.h>\n"
        f"long values[] = {{{', '.join(expressions)}}};\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return list((ctypes.c_long * len(expressions)).in_dll(ctypes.CDLL(str(library)), "values"))


@pytest.mark.parametrize(
    "attr", [module.Load, module.Open, module.Create, module.Element, module.Batch, module.Info]
)
def test_fields_are_where_the_kernel_looks(tmp_path: Path, attr: type[ctypes.Structure]) -> None:
    names = [field[0] for field in attr._fields_ if field[0] != "unused"]
    prefix = PREFIXES.get(attr, "")
    offsets = [f"offsetof(union bpf_attr, {prefix}{name})" for name in names]
    assert as_compiled(tmp_path, offsets) == [getattr(attr, name).offset for name in names]


def test_what_is_known_of_a_map_is_where_the_kernel_writes_it(tmp_path: Path) -> None:
    names = [field[0] for field in module.MapInfo._fields_]
    offsets = [f"offsetof(struct bpf_map_info, {name})" for name in names]
    assert as_compiled(tmp_path, offsets) == [
        getattr(module.MapInfo, name).offset for name in names
    ]


def test_numbers_are_those_of_the_header(tmp_path: Path) -> None:
    names = (
        "BPF_MAP_CREATE BPF_MAP_LOOKUP_ELEM BPF_MAP_UPDATE_ELEM BPF_PROG_LOAD "
        "BPF_OBJ_GET_INFO_BY_FD BPF_RAW_TRACEPOINT_OPEN BPF_MAP_LOOKUP_BATCH "
        "BPF_PROG_TYPE_SOCKET_FILTER BPF_PROG_TYPE_KPROBE BPF_PROG_TYPE_RAW_TRACEPOINT "
        "BPF_PROG_TYPE_TRACING BPF_TRACE_RAW_TP BPF_TRACE_FEXIT BPF_MAP_TYPE_PERCPU_ARRAY "
        "BPF_FUNC_probe_read_kernel BPF_PSEUDO_MAP_FD BPF_RINGBUF_BUSY_BIT "
        "BPF_RINGBUF_DISCARD_BIT BPF_RINGBUF_HDR_SZ BPF_MAP_TYPE_PERF_EVENT_ARRAY "
        "BPF_MAP_TYPE_RINGBUF"
    )
    assert as_compiled(tmp_path, [*names.split(), "sizeof(struct bpf_insn)"]) == [
        *(module._MAP_CREATE, module._MAP_LOOKUP_ELEM, module._MAP_UPDATE_ELEM),
        *(module._PROG_LOAD, module._OBJ_GET_INFO_BY_FD, module._RAW_TRACEPOINT_OPEN),
        *(module._MAP_LOOKUP_BATCH, module.SOCKET_FILTER, module.KPROBE, module.RAW_TRACEPOINT),
        *(module.TRACING, module.TRACE_RAW_TP, module.TRACE_FEXIT, module.PERCPU_ARRAY),
        *(syscalls._BPF_PROBE_READ_KERNEL, compiled._PSEUDO_MAP_FD, ring_buffer._BUSY),
        *(ring_buffer._DISCARDED, ring_buffer._HEADER_BYTES, module.PERF_EVENT_ARRAY),
        *(module.RINGBUF, module.INSTRUCTION.size),
    ]


def test_instructions_of_copies_are_those_of_the_header(tmp_path: Path) -> None:
    codes = (
        *("BPF_LD | BPF_IMM | BPF_DW", "BPF_LDX | BPF_MEM | BPF_DW", "BPF_ST | BPF_MEM | BPF_DW"),
        *("BPF_STX | BPF_ATOMIC | BPF_DW", "BPF_ALU64 | BPF_MOV | BPF_X"),
        *(f"BPF_ALU64 | {operation} | BPF_K" for operation in ("BPF_MOV", "BPF_AND", "BPF_LSH")),
        *("BPF_ALU64 | BPF_ADD | BPF_X", "BPF_JMP32 | BPF_JA", "BPF_JMP | BPF_JNE | BPF_K"),
        *("BPF_JMP | BPF_CALL", "BPF_JMP | BPF_EXIT", "BPF_FUNC_get_smp_processor_id"),
        *("BPF_PSEUDO_MAP_VALUE", "BPF_PSEUDO_CALL", "BPF_MAP_TYPE_ARRAY"),
    )
    assert as_compiled(tmp_path, codes) == [
        *(nested._LOAD_64, nested._LOAD, nested._STORE, nested._ATOMIC_ADD, nested._MOVE),
        *(nested._SET, nested._AND, nested._SHIFT, nested._ADD, nested._JUMP, nested._IF_SET),
        *(nested._CALL, nested._EXIT, nested._THIS_CPU, nested._MAP_VALUE, nested._FUNCTION),
        module.ARRAY,
    ]


def test_calls_of_perf_are_those_of_the_header(tmp_path: Path) -> None:
    names = (
        "PERF_EVENT_IOC_ENABLE PERF_EVENT_IOC_SET_BPF PERF_FLAG_FD_CLOEXEC PERF_TYPE_SOFTWARE "
        "PERF_COUNT_SW_BPF_OUTPUT PERF_SAMPLE_RAW PERF_RECORD_SAMPLE"
    )
    members = ("kprobe_func", "kprobe_addr")
    offsets = [f"offsetof(struct perf_event_attr, {name})" for name in members]
    positions = [f"offsetof(struct perf_event_mmap_page, data_{name})" for name in ("head", "tail")]
    expected = [*names.split(), "PERF_ATTR_SIZE_VER5", *offsets, *positions]
    # The fields of PERF_ATTR before them are 64 bits wide, except for two pairs.
    assert as_compiled(tmp_path, expected) == [
        *(kprobe.IOC_ENABLE, kprobe._IOC_SET_BPF, kprobe.PERF_FLAG_FD_CLOEXEC),
        *(perf_buffer._SOFTWARE, perf_buffer._BPF_OUTPUT, perf_buffer._SAMPLE_RAW),
        *(perf_buffer._SAMPLE, kprobe.PERF_ATTR.size, 56, 64),
        *(perf_buffer._HEAD, perf_buffer._TAIL),
    ]
