# SPDX-License-Identifier: GPL-2.0-only
"""How the type of a tracepoint's arguments is found; no kernel is asked for anything."""

import errno
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pageinspect.target.symbols.find import LIVE_BTF
from pageinspect.trace import tracepoint as module


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
    assert asked == [(module.BtfKind.TYPEDEF, "btf_trace_mm_page_free")]
