# SPDX-License-Identifier: GPL-2.0-only
"""What is given to bpf(), against the kernel's own header as the compiler reads it."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from pageinspect.doctor import syscalls
from pageinspect.trace import bpf_calls as module

HEADER = Path("/usr/include/linux/bpf.h")


# What a member is called in the header, if not the same.
OTHER_NAMES = {
    "name": "raw_tracepoint.name",
    "prog_fd": "raw_tracepoint.prog_fd",
}


def as_compiled(tmp_path: Path, expressions: list[str]) -> list[int]:
    """Return the values of constant expressions over <linux/bpf.h>."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not HEADER.exists():
        pytest.skip("no C compiler, or no <linux/bpf.h>")
    source, library = tmp_path / "values.c", tmp_path / "values.so"
    source.write_text(
        "#include <stddef.h>\n#include <linux/bpf.h>\n"
        f"long values[] = {{{', '.join(expressions)}}};\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return list((ctypes.c_long * len(expressions)).in_dll(ctypes.CDLL(str(library)), "values"))


@pytest.mark.parametrize("attr", [module.Load, module.Open, module.Create])
def test_fields_are_where_the_kernel_looks(tmp_path: Path, attr: type[ctypes.Structure]) -> None:
    names = [field[0] for field in attr._fields_ if field[0] != "unused"]
    offsets = [f"offsetof(union bpf_attr, {OTHER_NAMES.get(name, name)})" for name in names]
    assert as_compiled(tmp_path, offsets) == [getattr(attr, name).offset for name in names]


def test_numbers_are_those_of_the_header(tmp_path: Path) -> None:
    names = (
        "BPF_MAP_CREATE BPF_PROG_LOAD BPF_RAW_TRACEPOINT_OPEN BPF_PROG_TYPE_SOCKET_FILTER "
        "BPF_PROG_TYPE_RAW_TRACEPOINT BPF_PROG_TYPE_TRACING BPF_TRACE_RAW_TP "
        "BPF_MAP_TYPE_PERCPU_ARRAY BPF_FUNC_probe_read_kernel"
    )
    assert as_compiled(tmp_path, [*names.split(), "sizeof(struct bpf_insn)"]) == [
        *(module._MAP_CREATE, module._PROG_LOAD, module._RAW_TRACEPOINT_OPEN),
        *(module.SOCKET_FILTER, module.RAW_TRACEPOINT, module.TRACING, module.TRACE_RAW_TP),
        *(module.PERCPU_ARRAY, syscalls._BPF_PROBE_READ_KERNEL, module.INSTRUCTION_BYTES),
    ]
