# SPDX-License-Identifier: GPL-2.0-only
"""What is loaded is given back, whatever goes wrong, over a bcc that loads nothing."""

import ctypes
from types import SimpleNamespace
from typing import Any, cast

import pytest
from synthetic import MODERN

from pageinspect.trace import program as module
from pageinspect.trace.program import PageFreeProgram


class Loaded:
    """Stands for bcc's BPF and for the program; the maps are not there."""

    def __init__(self, name: str, given_back: list[str]) -> None:
        self._name = name
        self._given_back = given_back

    def dump_func(self, _name: bytes) -> bytes:
        return b""

    def __getitem__(self, name: bytes) -> None:
        raise KeyError(name)

    def cleanup(self) -> None:
        self._given_back.append(self._name)

    close = cleanup


def test_what_is_loaded_is_given_back_when_the_rest_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[str] = []
    monkeypatch.setattr(module, "compile_program", lambda *_: Loaded("maps", given_back))
    monkeypatch.setattr(module, "TypedTracepoint", lambda *_: Loaded("program", given_back))
    with pytest.raises(KeyError):
        module.PageFreeProgram(cast("Any", SimpleNamespace(lib=None)), MODERN)
    assert given_back == ["program", "maps"]


def test_a_flood_of_events_is_taken_in_rounds() -> None:
    reader = PageFreeProgram.__new__(PageFreeProgram)
    reader._records = [b""] * ((1 << 16) - 2)
    event = ctypes.create_string_buffer(b"event")
    assert reader._take(None, event, 5) == 0
    assert reader._take(None, event, 5) < 0
    assert reader._records[-1] == b"event"
