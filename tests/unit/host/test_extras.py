# SPDX-License-Identifier: GPL-2.0-only
"""Libraries of extras: imported or looked for, with one form of error if they are missing."""

import sys
from collections.abc import Callable

import pytest

from pageinspect.errors import PageInspectError
from pageinspect.host.extras import load_library, need_library


def test_what_is_installed() -> None:
    assert load_library("json", "x").loads("1") == 1
    need_library("json", "x")


@pytest.mark.parametrize("ask_for", [load_library, need_library])
def test_what_is_missing(ask_for: Callable[[str, str], object]) -> None:
    with pytest.raises(PageInspectError) as caught:
        ask_for("no_such_library", "extra")
    assert caught.value.message == "no_such_library is not installed, which the extra extra has"
    assert caught.value.hint == f"{sys.executable} -m pip install 'pageinspect[extra]'"


def test_need_library_imports_nothing() -> None:
    sys.modules.pop("this", None)
    need_library("this", "x")
    assert "this" not in sys.modules
