# SPDX-License-Identifier: GPL-2.0-only
"""The types that hooks are checked against, and what an absent one is called."""

import pytest
from btf_builder import Builder

from pageinspect.target.symbols.btf import Btf, BtfKind
from pageinspect.target.symbols.find import LIVE_BTF
from pageinspect.trace import hooks as module
from pageinspect.trace.hooks import Hook, HookKind


@pytest.fixture
def ids(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    b = Builder()
    prototype = b.add(BtfKind.FUNC_PROTO, "", 0)
    pointer = b.add(BtfKind.PTR, "", prototype)
    ids = {
        "tracepoint": b.add(BtfKind.TYPEDEF, "btf_trace_mm_page_free", pointer),
        "function": b.add(BtfKind.FUNC, "mm_page_free", prototype),
    }
    btf = Btf(b.build())
    monkeypatch.setattr(module, "read_btf", lambda path: btf if path == LIVE_BTF else None)
    return ids


def test_a_tracepoint_has_the_type_of_its_arguments_a_function_its_own(ids: dict[str, int]) -> None:
    assert Hook("f", HookKind.TRACEPOINT, "mm_page_free").type_id() == ids["tracepoint"]
    assert Hook("f", HookKind.FEXIT, "mm_page_free").type_id() == ids["function"]
    assert not Hook("f", HookKind.KPROBE, "mm_page_free").type_name


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize("kind", [HookKind.TRACEPOINT, HookKind.FEXIT])
def test_what_the_kernel_lacks_is_no_such_file(kind: HookKind) -> None:
    hook = Hook("f", kind, "mm_page_allocated")
    with pytest.raises(FileNotFoundError):
        hook.type_id()
    assert "mm_page_allocated" in hook.absent
