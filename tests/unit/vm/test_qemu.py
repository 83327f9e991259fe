import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pageinspect.errors import UsageError
from pageinspect.vm import accel, qemu
from pageinspect.vm.qemu import Machine, clear_socket, command_line, last_lines, parse_memory

_MACHINE = Machine(
    accelerator="tcg",
    kernel=Path("/k"),
    initrd="/dev/fd/7",
    console=Path("/logs/a,b.log"),
    memory=2 << 30,
    disks=(("root", "/r"),),
    agent=5,
    monitor=6,
)


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    qemu.sandbox.cache_clear()
    yield
    qemu.sandbox.cache_clear()


def _value(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]


def test_emulation_goes_without_what_it_gets_wrong() -> None:
    assert _value(command_line(_MACHINE), "-cpu") == "max,la57=off,cx16=off"
    assert _value(command_line(_MACHINE), "-accel") == "tcg,thread=single"
    assert _value(command_line(replace(_MACHINE, accelerator="kvm")), "-cpu") == "host,la57=off"


def _qemu_that(ends: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program in QEMU's place."""
    program = folder / "qemu-system-x86_64"
    program.write_text(f"#!/bin/sh\n{ends}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_qemu_runs_in_its_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _qemu_that(
        f'echo "$@" > {tmp_path}/asked; read line; [ "$line" = quit ]', tmp_path, monkeypatch
    )
    sandbox = _value(command_line(_MACHINE), "-sandbox")
    denied = ("obsolete", "elevateprivileges", "spawn", "resourcecontrol")
    assert sandbox.split(",") == ["on", *(f"{what}=deny" for what in denied)]
    assert f"-sandbox {sandbox}" in (tmp_path / "asked").read_text()


def test_a_qemu_that_has_no_sandbox_runs_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _qemu_that("exit 1", tmp_path, monkeypatch)
    assert "-sandbox" not in command_line(_MACHINE)


def test_a_panic_ends_qemu_at_once() -> None:
    argv = command_line(replace(_MACHINE, append="quiet x=1"))
    assert "-no-reboot" in argv
    assert "panic=-1" in _value(argv, "-append").split()
    assert _value(argv, "-append").endswith(" quiet x=1")


def test_memory_is_in_bytes_and_not_reserved() -> None:
    argv = command_line(_MACHINE)
    assert _value(argv, "-m") == "2147483648B"
    assert "size=2147483648B,reserve=off" in _value(argv, "-object")


def test_nodes_share_the_memory_and_there_is_room_for_more() -> None:
    argv = command_line(replace(_MACHINE, nodes=2, room=1 << 30))
    assert _value(argv, "-m") == "2147483648B,slots=4,maxmem=3221225472B"
    assert _value(argv, "-machine") == "q35"
    nodes = [argv[i + 1] for i, option in enumerate(argv) if option == "-numa"]
    assert nodes == ["node,memdev=memory0", "node,memdev=memory1"]
    for node in nodes:
        name = node.partition("memdev=")[2]
        assert f"memory-backend-ram,id={name},size=1073741824B,reserve=off" in argv


def test_a_stale_socket_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    clear_socket(path)
    assert not path.exists()
    clear_socket(path)


def test_a_socket_in_use_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        # The second finds the queue full.
        for _ in range(3):
            with pytest.raises(UsageError, match="another process listens"):
                clear_socket(path)
    assert path.is_socket()


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("precious")
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(UsageError, match="is not a socket"):
            clear_socket(name)
    assert path.read_text() == "precious"
    assert link.is_symlink()


def test_commas_in_paths_are_doubled() -> None:
    assert "path=/logs/a,,b.log" in " ".join(command_line(_MACHINE))


def test_disks_are_read_only_and_known_by_serial() -> None:
    text = " ".join(command_line(_MACHINE))
    assert "file=/r,format=raw,readonly=on" in text
    assert "drive=root,serial=root" in text


def test_scratch_disks_are_written() -> None:
    machine = replace(_MACHINE, scratch=(("dump", "/dev/fd/9"),))
    argv = command_line(machine)
    (drive,) = (word for word in argv if "file=/dev/fd/9" in word)
    assert "readonly" not in drive
    assert "virtio-blk-pci,drive=dump,serial=dump" in argv
    assert "throttling" not in drive
    (slow,) = (w for w in command_line(replace(machine, write_limit=1000)) if "/dev/fd/9" in w)
    assert slow == f"{drive},throttling.bps-write=1000"


def test_a_dump_will_have_vmcoreinfo() -> None:
    assert "vmcoreinfo" in command_line(_MACHINE)


def test_a_second_monitor_listens() -> None:
    argv = command_line(replace(_MACHINE, qmp_socket=Path("/s")))
    assert _value(argv, "-qmp") == "unix:/s,server=on,wait=off"
    assert "-qmp" not in command_line(_MACHINE)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2G", 2 << 30), ("512m", 512 << 20), ("1GiB", 1 << 30), ("4096", 4096), ("1T", 1 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "G", "2X", "-1G", "1.5G"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="not a size of memory"):
        parse_memory(text)


def test_last_lines_are_plain_and_not_empty(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log, 3) == ()
    log.write_bytes(b"one\r\n\r\n\x1b[31mtwo\x1b[0m\xff\r\n\n  three\x00\n")
    assert last_lines(log, 2) == ("two", "  three")


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


def test_a_qemu_that_dies_at_once_does_not_start(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host / "qemu-system-x86_64").write_text("#!/bin/sh\nexit 1\n")
    (host / "qemu-system-x86_64").chmod(0o755)
    monkeypatch.setenv("PATH", str(host), prepend=":")
    assert not accel._starts(Path("/k"), "/i")


def test_what_qemu_says_is_kept(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "qemu-system-x86_64").write_text("#!/bin/sh\necho first; echo cannot >&2; exit 3\n")
    (host / "qemu-system-x86_64").chmod(0o755)
    monkeypatch.setenv("PATH", str(host), prepend=":")
    process = qemu.Qemu(replace(_MACHINE, agent=None, monitor=None))
    assert process.wait(20) == 3
    assert process.said == "first; cannot"
    process.close()
