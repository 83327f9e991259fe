# SPDX-License-Identifier: GPL-2.0-only
"""Which rights a process has, by the files in which the kernel tells them."""

import os
from pathlib import Path

import pytest

from pageinspect.host import capabilities

INITIAL, OTHER = 4026531837, 4026532321


def process(root: Path, *held: int, namespace: int = INITIAL) -> Path:
    """Make /proc/self of a process with these capabilities by their number."""
    place = root / "proc/self"
    (place / "ns").mkdir(parents=True)
    mask = sum(1 << bit for bit in held)
    (place / "status").write_text(f"Name:\tx: y\nCapPrm:\t{0:016x}\nCapEff:\t{mask:016x}\n")
    (place / "ns/user").symlink_to(f"user:[{namespace}]")
    return root


@pytest.mark.parametrize(
    ("held", "lacks"),
    [((), ("BPF", "PERFMON")), ((39,), ("PERFMON",)), ((38, 39), ()), ((21,), ())],
)
def test_sys_admin_stands_for_both_of_bpf(
    tmp_path: Path, held: tuple[int, ...], lacks: tuple[str, ...]
) -> None:
    assert capabilities.lacking(capabilities.BPF, process(tmp_path, *held)) == lacks


def test_capabilities_of_a_user_namespace_count_for_nothing(tmp_path: Path) -> None:
    root = process(tmp_path, *range(41), namespace=OTHER)
    assert capabilities.lacking(capabilities.BPF, root) == capabilities.BPF
    assert "user namespace" in capabilities.advice(capabilities.BPF, root=root)


def test_root_is_not_asked_to_run_as_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = process(tmp_path, 39)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert capabilities.advice(capabilities.BPF, root=root) == (
        "run outside of the container, or with CAP_PERFMON"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert (
        capabilities.advice(capabilities.BPF, root=root)
        == "run as root (sudo), or with CAP_PERFMON"
    )


def test_the_first_need_that_is_not_met_is_advised(tmp_path: Path) -> None:
    root = process(tmp_path, 38, 39)
    assert capabilities.advice(capabilities.BPF, capabilities.MAPS, root=root).endswith(
        "with CAP_SYS_RESOURCE"
    )
    assert "security module" in capabilities.advice(capabilities.BPF, root=root)


def test_a_user_who_may_not_open_the_file_needs_one_right_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = process(tmp_path, 17)
    (root / "proc/kcore").touch()
    assert capabilities.lacking(capabilities.kcore(root), root) == ()
    monkeypatch.setattr(os, "access", lambda *_args, **_kwargs: False)
    assert capabilities.lacking(capabilities.kcore(root), root) == ("DAC_READ_SEARCH",)
