# SPDX-License-Identifier: GPL-2.0-only
"""What doctor makes of the files and rights that it finds."""

from pathlib import Path

import pytest
from elf_builder import elf
from elf_builder import segment as elf_segment
from examined import BPF, PERFMON, SYS_RAWIO, SYSLOG, holds, put

from pageinspect.doctor import bpf_probes, probes
from pageinspect.doctor.finding import Finding
from pageinspect.errors import PageInspectError
from pageinspect.model.elf import LOAD, NOTE


@pytest.mark.parametrize(
    ("level", "ok"), [("none", True), ("integrity", True), ("confidentiality", False)]
)
def test_lockdown_forbids_only_when_for_confidentiality(
    tmp_path: Path, level: str, ok: bool
) -> None:
    levels = "none integrity confidentiality".replace(level, f"[{level}]")
    put(tmp_path, "sys/kernel/security/lockdown", levels)
    finding = probes.lockdown(tmp_path)
    assert (finding.ok, finding.found, bool(finding.fix)) == (ok, level, not ok)


def test_lockdown_that_is_unavailable(tmp_path: Path) -> None:
    assert probes.lockdown(tmp_path) == Finding(ok=True, found="unavailable (no securityfs)")


@pytest.mark.usefixtures("as_root")
def test_root_without_capabilities_has_no_rights(tmp_path: Path) -> None:
    holds(tmp_path, BPF)
    assert probes.privilege(tmp_path) == Finding(
        ok=False,
        found="uid 0, without SYS_RAWIO",
        fix="run outside of the container, or with CAP_SYS_RAWIO",
    )
    assert bpf_probes.capabilities(tmp_path) == Finding(
        ok=False,
        found="without PERFMON",
        fix="run outside of the container, or with CAP_PERFMON",
    )


@pytest.mark.usefixtures("as_user")
def test_a_user_with_capabilities_is_as_good_as_root(tmp_path: Path) -> None:
    holds(tmp_path, SYS_RAWIO, BPF, PERFMON)
    assert probes.privilege(tmp_path) == Finding(ok=True, found="uid 1000")
    assert bpf_probes.capabilities(tmp_path) == Finding(ok=True, found="BPF and PERFMON")


@pytest.mark.usefixtures("as_user")
def test_the_fix_for_a_user_names_the_capability(tmp_path: Path) -> None:
    holds(tmp_path)
    assert probes.privilege(tmp_path).fix == "run as root (sudo), or with CAP_SYS_RAWIO"


def kcore(segment: bytes) -> bytes:
    """A core file with a note and one loadable segment."""
    headers = elf(elf_segment(NOTE, 0, 0, 0), elf_segment(LOAD, 8192, 0, len(segment)))
    return headers.ljust(8192, b"\0") + segment


@pytest.mark.parametrize(("size", "ok"), [(4096, True), (100, False)])
def test_kcore_is_read_where_its_memory_begins(tmp_path: Path, size: int, ok: bool) -> None:
    put(tmp_path, "proc/kcore", kcore(b"x" * size))
    assert probes.kcore(tmp_path) == Finding(ok=ok, found=f"read {size} bytes of it")


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"no core" * 100])
def test_a_file_that_is_not_kcore(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "proc/kcore", content)
    assert not probes.kcore(tmp_path).ok


def test_without_kcore_a_core_is_the_way_out(tmp_path: Path) -> None:
    assert "-c FILE" in probes.kcore(tmp_path).fix


def test_btf_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    put(tmp_path, "sys/kernel/btf/vmlinux", b"\x9f\xeb\x01" + bytes(5_000_000))
    assert probes.btf(tmp_path) == Finding(ok=True, found="5.0 MB")
    put(tmp_path, "sys/kernel/btf/vmlinux", b"something else")
    assert not probes.btf(tmp_path).ok


@pytest.mark.usefixtures("as_root")
def test_symbols_without_addresses_are_no_symbols(tmp_path: Path) -> None:
    holds(tmp_path, SYSLOG)
    hidden = "0000000000000000 A fixed_percpu_data\n0000000000000000 T _stext\n"
    put(tmp_path, "proc/kallsyms", hidden)
    assert probes.kallsyms(tmp_path).fix == "sysctl kernel.kptr_restrict=1"
    holds(tmp_path)
    assert probes.kallsyms(tmp_path).fix.endswith("CAP_SYSLOG")
    put(tmp_path, "proc/kallsyms", hidden.replace("0 T", "1 T"))
    assert probes.kallsyms(tmp_path) == Finding(ok=True, found="2 symbols")


def test_kvm_that_is_not_there(tmp_path: Path) -> None:
    assert probes.kvm(tmp_path).found == "no /dev/kvm"


@pytest.mark.parametrize(
    ("choice", "ok", "found"),
    [
        ("kvm", True, "a guest started under it"),
        ("tcg", False, "guests die or hang under it"),
        (PageInspectError("no busybox", "install it"), False, "could not be tried"),
    ],
)
def test_kvm_is_what_the_trial_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choice: str | PageInspectError,
    ok: bool,
    found: str,
) -> None:
    def choose(*_: object) -> str:
        if isinstance(choice, PageInspectError):
            raise choice
        return choice

    put(tmp_path, "dev/kvm", "")
    monkeypatch.setattr(probes.kernel, "all_kernels", lambda: ["one"])
    monkeypatch.setattr(probes.kernel, "built", lambda _: type("Built", (), {"vmlinuz": tmp_path}))
    monkeypatch.setattr(probes.initrd, "base", lambda: tmp_path)
    monkeypatch.setattr(probes.tools, "require", lambda _: None)
    monkeypatch.setattr(probes.accel, "choose", choose)
    finding = probes.kvm(tmp_path)
    assert (finding.ok, finding.found) == (ok, found)


def test_compiled_programs_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path))
    folder = tmp_path / "programs"
    assert probes.compiled_programs(tmp_path) == Finding(ok=True, found=f"0 kept in {folder}")
    folder.mkdir(mode=0o700)
    for name in ("a.json", "b.json", "other"):
        put(folder, name, "")
    assert probes.compiled_programs(tmp_path) == Finding(ok=True, found=f"2 kept in {folder}")
    folder.chmod(0o770)
    finding = probes.compiled_programs(tmp_path)
    assert not finding.ok
    assert "others may write" in finding.found
    assert finding.fix.startswith(f"chmod go-w {folder}")
