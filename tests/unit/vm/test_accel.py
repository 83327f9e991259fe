# SPDX-License-Identifier: GPL-2.0-only
"""How it is decided between KVM and emulation."""

import json
from pathlib import Path

import pytest

from pageinspect.errors import UsageError
from pageinspect.vm import accel


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with a cache of its own and a /dev/kvm that opens."""
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path))
    monkeypatch.delenv(accel.VARIABLE, raising=False)
    monkeypatch.setattr(accel, "_DEVICE", tmp_path)
    return tmp_path


def _choose(asked: str | None = None) -> str:
    return accel.choose(asked, Path("/k"), "/i")


@pytest.mark.parametrize(("works", "expected"), [(True, "kvm"), (False, "tcg")])
def test_kvm_is_tried_once(
    host: Path, monkeypatch: pytest.MonkeyPatch, works: bool, expected: str
) -> None:
    tried = []
    monkeypatch.setattr(accel, "_starts", lambda *_: tried.append(1) or works)
    assert (_choose(), _choose(), len(tried)) == (expected, expected, 1)


def test_kvm_is_tried_again_after_a_boot_of_the_host(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host / "accelerator.json").write_text(json.dumps({"boot": "another", "accelerator": "kvm"}))
    monkeypatch.setattr(accel, "_starts", lambda *_: False)
    assert _choose() == "tcg"


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "[]",
        "{",
        "null",
        '{"boot": "BOOT"}',
        '{"boot": 1}',
        '{"boot": "BOOT", "accelerator": []}',
        "[" * 100_000,
    ],
    ids=range(8),
)
def test_a_verdict_that_is_broken_is_found_out_again(
    host: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (host / "accelerator.json").write_text(kept.replace("BOOT", boot))
    monkeypatch.setattr(accel, "_starts", lambda *_: True)
    assert _choose() == "kvm"


def test_without_the_device_nothing_is_tried(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "_DEVICE", host / "kvm")
    monkeypatch.setattr(accel, "_starts", lambda *_: pytest.fail("tried"))
    assert _choose() == "tcg"


def test_a_choice_is_taken_as_it_is(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "_starts", lambda *_: pytest.fail("tried"))
    monkeypatch.setenv(accel.VARIABLE, "kvm")
    assert (_choose(), _choose("tcg")) == ("kvm", "tcg")
    monkeypatch.setenv(accel.VARIABLE, "xen")
    with pytest.raises(UsageError, match="no accelerator xen"):
        _choose()
