"""What doctor makes of what it finds, without a kernel that would answer."""

import errno
import io
import json
import os
import struct
from pathlib import Path

import pytest
from places import DOCS

from pageinspect.doctor import bpf_probes, probes, syscalls
from pageinspect.doctor.finding import Examined, Finding, Item, works
from pageinspect.doctor.items import ITEMS, examine
from pageinspect.errors import PageInspectError
from pageinspect.render import render
from pageinspect.report.doctor import DoctorReport
from pageinspect.trace import bpf_calls
from pageinspect.trace.bpf_calls import VerifierError


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def put(root: Path, name: str, content: bytes | str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


SYS_RAWIO, SYSLOG, PERFMON, BPF = 17, 34, 38, 39


def holds(root: Path, *capabilities: int) -> None:
    """Have the process hold these capabilities alone."""
    mask = sum(1 << number for number in capabilities)
    put(root, "proc/self/status", f"Name:\tx\nCapEff:\t{mask:016x}\n")


def refuse(number: int) -> object:
    def refusing(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return refusing


def examined(**missing: str) -> tuple[Examined, ...]:
    """Every item as found, but for those named with what mends them."""
    return tuple(
        Examined(
            item, Finding(item.name not in missing, "what was found", missing.get(item.name, ""))
        )
        for item in ITEMS
    )


def text(of: tuple[Examined, ...], form: str = "table") -> str:
    stream = io.StringIO()
    render(DoctorReport("7.3.4-test", of), form, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("level", "ok"), [("none", True), ("integrity", True), ("confidentiality", False)]
)
def test_lockdown_forbids_only_when_for_confidentiality(
    tmp_path: Path, level: str, ok: bool
) -> None:
    levels = "none integrity confidentiality".replace(level, f"[{level}]")
    put(tmp_path, "sys/kernel/security/lockdown", levels)
    finding = probes.lockdown(tmp_path)
    assert (finding.ok, finding.found, bool(finding.mend)) == (ok, level, not ok)


def test_lockdown_that_is_not_told(tmp_path: Path) -> None:
    assert probes.lockdown(tmp_path) == Finding(ok=True, found="not told (no securityfs)")


@pytest.mark.usefixtures("as_root")
def test_root_without_capabilities_is_none(tmp_path: Path) -> None:
    holds(tmp_path, BPF)
    assert probes.privilege(tmp_path) == Finding(
        ok=False,
        found="uid 0, without SYS_RAWIO",
        mend="run outside of the container, or with CAP_SYS_RAWIO",
    )
    assert bpf_probes.capabilities(tmp_path) == Finding(
        ok=False,
        found="without PERFMON",
        mend="run outside of the container, or with CAP_PERFMON",
    )


@pytest.mark.usefixtures("as_user")
def test_a_user_with_capabilities_is_as_good_as_root(tmp_path: Path) -> None:
    holds(tmp_path, SYS_RAWIO, BPF, PERFMON)
    assert probes.privilege(tmp_path) == Finding(ok=True, found="uid 1000")
    assert bpf_probes.capabilities(tmp_path) == Finding(ok=True, found="BPF and PERFMON")


@pytest.mark.usefixtures("as_user")
def test_a_user_is_told_what_is_missing(tmp_path: Path) -> None:
    holds(tmp_path)
    assert probes.privilege(tmp_path).mend == "run as root (sudo), or with CAP_SYS_RAWIO"


def kcore(segment: bytes) -> bytes:
    """A core file with a note and one loadable segment."""
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF", 4, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    note = struct.pack("<IIQQQQQQ", 4, 0, 0, 0, 0, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 0, 8192, 0, 0, len(segment), len(segment), 0)
    return (header + note + load).ljust(8192, b"\0") + segment


@pytest.mark.parametrize(("size", "ok"), [(4096, True), (100, False)])
def test_kcore_is_read_where_its_memory_begins(tmp_path: Path, size: int, ok: bool) -> None:
    put(tmp_path, "proc/kcore", kcore(b"x" * size))
    assert probes.kcore(tmp_path) == Finding(ok=ok, found=f"read {size} bytes of it")


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"no core" * 100])
def test_what_is_no_kcore(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "proc/kcore", content)
    assert not probes.kcore(tmp_path).ok


def test_without_kcore_a_core_is_the_way_out(tmp_path: Path) -> None:
    assert "-c FILE" in probes.kcore(tmp_path).mend


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
    assert probes.kallsyms(tmp_path).mend == "sysctl kernel.kptr_restrict=1"
    holds(tmp_path)
    assert probes.kallsyms(tmp_path).mend.endswith("CAP_SYSLOG")
    put(tmp_path, "proc/kallsyms", hidden.replace("0 T", "1 T"))
    assert probes.kallsyms(tmp_path) == Finding(ok=True, found="2 symbols")


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("number", "level", "mend"),
    [
        (errno.EPERM, "none", "run outside of the container, or with CAP_BPF and CAP_PERFMON"),
        (errno.EINVAL, "[confidentiality]", "the lockdown forbids it"),
        (errno.ENOSYS, "none", "it takes Linux 5.8 or later"),
    ],
)
def test_what_mends_depends_on_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, level: str, mend: str
) -> None:
    holds(tmp_path)
    put(tmp_path, "sys/kernel/security/lockdown", level)
    monkeypatch.setattr(bpf_calls, "system_call", refuse(number))
    finding = bpf_probes.reads(tmp_path)
    assert (finding.ok, finding.found) == (False, os.strerror(number))
    assert finding.mend.startswith(mend)


@pytest.mark.parametrize(("number", "ok"), [(errno.ENOENT, True), (errno.EPERM, False)])
def test_a_kprobe_that_cannot_be_placed_for_its_address_alone_could_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, ok: bool
) -> None:
    holds(tmp_path)
    put(tmp_path, "sys/bus/event_source/devices/kprobe/type", "8\n")
    monkeypatch.setattr(bpf_calls, "system_call", refuse(number))
    assert bpf_probes.kprobes(tmp_path).ok == ok


def test_what_the_verifier_refuses_is_no_missing_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing() -> None:
        raise VerifierError(errno.EACCES, "R2 !read_ok")

    monkeypatch.setattr(syscalls, "try_reading", refusing)
    finding = bpf_probes.reads(tmp_path)
    assert (finding.ok, finding.mend) == (False, "the verifier says: R2 !read_ok")


def test_a_map_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(tmp_path, BPF, PERFMON)
    monkeypatch.setattr(syscalls, "try_program", lambda: None)
    monkeypatch.setattr(syscalls, "try_map", refuse(errno.EPERM))
    assert bpf_probes.bpf(tmp_path).mend.endswith("CAP_SYS_RESOURCE")


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


def test_a_probe_is_given_the_root() -> None:
    seen: list[Path] = []

    def probe(root: Path) -> Finding:
        seen.append(root)
        return Finding(ok=True, found="")

    examine([Item("x", (), probe)], Path("/somewhere"))
    assert seen == [Path("/somewhere")]


@pytest.mark.parametrize(
    ("missing", "walking", "tracing", "guests"),
    [
        ((), True, True, True),
        (("kcore",), False, False, True),
        (("bcc",), True, False, True),
        (("BPF reads",), True, False, True),
        (("drgn",), False, False, True),
        (("QEMU",), True, True, False),
        (("KVM", "kprobes"), True, True, True),
    ],
)
def test_what_works_follows_from_what_is_there(
    missing: tuple[str, ...], walking: bool, tracing: bool, guests: bool
) -> None:
    found = examined(**dict.fromkeys(missing, "mend it"))
    told = [works(found, what) for what in ("walking", "tracing", "guests")]
    assert told == [walking, tracing, guests]
    assert DoctorReport("", found).well == (walking and tracing)


def test_the_table_says_once_what_mends_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = examined(kcore="run as root", BTF="run as root", bcc="apt install python3-bpfcc")
    lines = text(found).splitlines()
    assert lines[0] == "Linux 7.3.4-test, this machine"
    assert [line.split()[:2] for line in lines if line.startswith(("kcore ", "drgn "))] == [
        ["kcore", "NO"],
        ["drgn", "yes"],
    ]
    assert lines[-5:] == [
        "Works here: guests.",
        "Does not work here: walking, tracing.",
        "",
        "kcore, BTF: run as root.",
        "bcc: apt install python3-bpfcc.",
    ]
    assert max(map(len, lines)) <= 80


def test_json_has_the_documented_form() -> None:
    report = json.loads(text(examined(bcc="install it"), "json"))
    assert list(report) == ["schema", "kernel", "works", "items"]
    assert report["works"] == {"walking": True, "tracing": False, "guests": True}
    items = {item["name"]: item for item in report["items"]}
    assert items["bcc"] == {
        "name": "bcc",
        "ok": False,
        "found": "what was found",
        "needed_for": ["tracing"],
        "fix": "install it",
    }
    assert items["drgn"]["fix"] is None


def test_docs_name_every_item() -> None:
    document = (DOCS / "doctor.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in document.splitlines() if line.startswith("| ")]
    assert [name.strip() for row in rows[1:] for name in row.split(",")] == [i.name for i in ITEMS]
