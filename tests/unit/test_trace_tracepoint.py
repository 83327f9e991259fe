"""What is given to bpf(), against the kernel's own header; no kernel is asked for anything."""

import ctypes
import errno
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pageinspect.btf.find import LIVE_BTF
from pageinspect.trace import tracepoint as module

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


@pytest.mark.parametrize("attr", [module._Load, module._Open])
def test_fields_are_where_the_kernel_looks(tmp_path: Path, attr: type[ctypes.Structure]) -> None:
    names = [field[0] for field in attr._fields_ if field[0] != "unused"]
    offsets = [f"offsetof(union bpf_attr, {OTHER_NAMES.get(name, name)})" for name in names]
    assert as_compiled(tmp_path, offsets) == [getattr(attr, name).offset for name in names]


def test_numbers_are_those_of_the_header(tmp_path: Path) -> None:
    names = "BPF_PROG_LOAD BPF_RAW_TRACEPOINT_OPEN BPF_PROG_TYPE_TRACING BPF_TRACE_RAW_TP"
    assert as_compiled(tmp_path, [*names.split(), "sizeof(struct bpf_insn)"]) == [
        *(module._PROG_LOAD, module._RAW_TRACEPOINT_OPEN, module._TRACING, module._TRACE_RAW_TP),
        module._INSTRUCTION_BYTES,
    ]


def bcc(**functions: Any) -> Any:
    return SimpleNamespace(lib=SimpleNamespace(**functions))


def test_a_tracepoint_that_the_kernel_has_not_is_no_such_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lacks = bcc(libbpf_find_vmlinux_btf_id=lambda _name, _kind: -errno.ESRCH)
    types = SimpleNamespace(find=lambda _kind, _name: None)
    monkeypatch.setattr(module, "read_btf", lambda _path: types)
    with pytest.raises(FileNotFoundError):
        module._type_id(lacks, "mm_page_free")


@pytest.mark.parametrize("functions", [{}, {"libbpf_find_vmlinux_btf_id": lambda *_: -22}])
def test_the_type_is_found_without_libbpf_as_well(
    functions: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Types:
        def find(self, kind: object, name: str) -> int:
            asked.append((kind, name))
            return 7

    monkeypatch.setattr(module, "read_btf", lambda path: Types() if path == LIVE_BTF else None)
    assert module._type_id(cast("Any", bcc(**functions)), "mm_page_free") == 7
    assert asked == [(module.Kind.TYPEDEF, "btf_trace_mm_page_free")]
