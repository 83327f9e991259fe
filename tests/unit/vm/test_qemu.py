# SPDX-License-Identifier: GPL-2.0-only
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from qemu_arguments import PLAIN_GUEST, value_of

from pageinspect.errors import UsageError
from pageinspect.vm import qemu
from pageinspect.vm.qemu import clear_socket, command_line, last_lines, parse_memory


@pytest.fixture(autouse=True)
def _no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is asked of QEMU itself."""
    monkeypatch.setattr(qemu, "sandbox", tuple)


def test_emulation_goes_without_what_it_gets_wrong() -> None:
    assert value_of(command_line(PLAIN_GUEST), "-cpu") == "max,la57=off,cx16=off,avx2=off"
    assert value_of(command_line(PLAIN_GUEST), "-accel") == "tcg,thread=single"
    assert (
        value_of(command_line(replace(PLAIN_GUEST, accelerator="kvm")), "-cpu") == "host,la57=off"
    )


def test_a_panic_ends_qemu_at_once() -> None:
    argv = command_line(replace(PLAIN_GUEST, append="quiet x=1"))
    assert "-no-reboot" in argv
    assert "panic=-1" in value_of(argv, "-append").split()
    assert value_of(argv, "-append").endswith(" quiet x=1")


def test_memory_is_in_bytes_and_not_reserved() -> None:
    argv = command_line(PLAIN_GUEST)
    assert value_of(argv, "-m") == "2147483648B"
    assert "size=2147483648B,reserve=off" in value_of(argv, "-object")


def test_nodes_share_the_memory_and_there_is_room_for_more() -> None:
    argv = command_line(replace(PLAIN_GUEST, nodes=2, hotplug_memory=1 << 30))
    assert value_of(argv, "-m") == "2147483648B,slots=4,maxmem=3221225472B"
    assert value_of(argv, "-machine") == "q35"
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


def test_a_file_that_is_not_a_socket_is_not_removed(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("precious")
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(UsageError, match="is not a socket"):
            clear_socket(name)
    assert path.read_text() == "precious"
    assert link.is_symlink()


def test_commas_in_paths_are_doubled() -> None:
    assert "path=/logs/a,,b.log" in " ".join(command_line(PLAIN_GUEST))


def test_disks_are_read_only_and_known_by_serial() -> None:
    text = " ".join(command_line(PLAIN_GUEST))
    assert "file=/r,format=raw,readonly=on" in text
    assert "drive=root,serial=root" in text


def test_scratch_disks_are_written() -> None:
    machine = replace(PLAIN_GUEST, scratch=(("dump", "/dev/fd/9"),))
    argv = command_line(machine)
    (drive,) = (word for word in argv if "file=/dev/fd/9" in word)
    assert "readonly" not in drive
    assert "virtio-blk-pci,drive=dump,serial=dump" in argv
    assert "throttling" not in drive
    (slow,) = (w for w in command_line(replace(machine, write_limit=1000)) if "/dev/fd/9" in w)
    assert slow == f"{drive},throttling.bps-write=1000"


def test_a_dump_will_have_vmcoreinfo() -> None:
    assert "vmcoreinfo" in command_line(PLAIN_GUEST)


def test_a_second_monitor_listens() -> None:
    argv = command_line(replace(PLAIN_GUEST, qmp_socket=Path("/s")))
    assert value_of(argv, "-qmp") == "unix:/s,server=on,wait=off"
    assert "-qmp" not in command_line(PLAIN_GUEST)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2G", 2 << 30), ("512m", 512 << 20), ("1GiB", 1 << 30), ("4096", 4096), ("1T", 1 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "G", "2X", "-1G", "1.5G"])
def test_texts_that_are_not_a_size(text: str) -> None:
    with pytest.raises(UsageError, match="not a size of memory"):
        parse_memory(text)


def test_last_lines_are_plain_and_not_empty(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log, 3) == ()
    log.write_bytes(b"one\r\n\r\n\x1b[31mtwo\x1b[0m\xff\r\n\n  three\x00\n")
    assert last_lines(log, 2) == ("two", "  three")
