# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's command line, and the QEMU process."""

import functools
import os
import re
import socket
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..host import files
from ..host.processes import command_ending_with_parent
from . import tools
from .agent import PORT_NAME

KVM, TCG = "kvm", "tcg"

# 5-level paging and cmpxchg16b off: QEMU 7.2 emulates cmpxchg16b with wrong flags, and the slab
# allocator of a 6.12 kernel panics on that in one boot out of five. AVX2 off: it emulates that
# wrongly as well, and numpy.argsort() returns a wrong order or crashes.
_CPU = {KVM: "host,la57=off", TCG: "max,la57=off,cx16=off,avx2=off"}

# One thread emulates all CPUs in turn. With a thread per CPU, a CPU may execute code that another
# has just patched, and a 7.3 kernel on a busy host panics on a breakpoint that it patched away (an
# int3) in one boot out of fifty. A guest is not slower: little of its work is parallel.
_ACCELERATOR = {KVM: "kvm", TCG: "tcg,thread=single"}

# panic=-1 reboots at once, which -no-reboot turns into QEMU's end: a panic is noticed at once.
_CMDLINE = "console=ttyS0 panic=-1 loglevel=5"

# A guest that breaks out of QEMU cannot start programs or gain privileges.
_SANDBOX = (
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
)
_TRIAL = ("-nodefaults", "-no-user-config", "-display", "none", "-machine", "none")
_TRIAL_S = 10.0

_MOST_OUTPUT = 1 << 16

_SLOTS = 4
"""Slots for memory modules that are plugged in later."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True)
class Machine:
    """The configuration of QEMU. Paths may be /dev/fd/N with N in `descriptors`."""

    accelerator: str
    kernel: Path
    initrd: str
    console: Path
    memory: int
    """bytes"""
    nodes: int = 1
    """NUMA nodes, which share the memory evenly."""
    hotplug_memory: int = 0
    """bytes of memory that can be plugged in later"""
    cpus: int = 2
    possible_cpus: int = 0
    """most CPUs, those that may be plugged in later included; 0: as `cpus`"""
    cpu: str = ""
    """QEMU's -cpu; "" is the default for the accelerator"""
    append: str = ""
    disks: tuple[tuple[str, str], ...] = ()
    """(serial, path) of read-only disks; the init script knows them by their serial."""
    scratch: tuple[tuple[str, str], ...] = ()
    """(serial, path) of disks that the guest writes, without flushes to the host's disk."""
    write_limit: int = 0
    """bytes per second that the guest may write to each disk of `scratch`; 0: no limit"""
    agent: int | None = None
    """Descriptor of a connected socket."""
    monitor: int | None = None
    """Descriptor of a connected socket."""
    qmp_socket: Path | None = None
    """Path of a second monitor socket, on which QEMU listens for other programs."""
    descriptors: tuple[int, ...] = field(default=())
    """Descriptors to hand on besides `agent` and `monitor`."""


def parse_memory(text: str) -> int:
    """Return the bytes of a size such as 2G or 512M. Raises UsageError."""
    match = re.fullmatch(r"(\d+)([KMGT]?)(i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"{text!r} is not a size of memory", "write it as 2G or 512M")
    return int(match[1]) * _UNITS[match[2].upper()]


def command_line(machine: Machine) -> list[str]:
    """Return QEMU's argument list, without the program that starts it."""
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"]
    argv += sandbox()
    argv += ["-accel", _ACCELERATOR[machine.accelerator]]
    argv += ["-cpu", machine.cpu or _CPU[machine.accelerator]]
    possible = f",maxcpus={machine.possible_cpus}" if machine.possible_cpus else ""
    argv += ["-smp", f"{machine.cpus}{possible}"]
    argv += _memory(machine)
    argv += ["-no-reboot", "-kernel", str(machine.kernel), "-initrd", machine.initrd]
    argv += ["-append", f"{_CMDLINE} {machine.append}".rstrip()]
    argv += ["-chardev", f"file,id=console,path={_escape(str(machine.console))}"]
    argv += ["-serial", "chardev:console"]
    disks = [(*disk, "readonly=on") for disk in machine.disks]
    how = "cache=unsafe"
    if machine.write_limit:
        how += f",throttling.bps-write={machine.write_limit}"
    disks += [(*disk, how) for disk in machine.scratch]
    for serial, path, how in disks:
        drive = f"if=none,id={serial},file={_escape(path)},format=raw,{how}"
        argv += ["-drive", drive, "-device", f"virtio-blk-pci,drive={serial},serial={serial}"]
    argv += ["-device", "vmcoreinfo", "-device", "virtio-balloon-pci,id=balloon"]
    if machine.agent is not None:
        argv += ["-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,fd={machine.agent}"]
        argv += ["-device", f"virtserialport,chardev=agent,name={PORT_NAME}"]
    if machine.monitor is not None:
        argv += ["-chardev", f"socket,id=monitor,fd={machine.monitor}"]
        argv += ["-mon", "chardev=monitor,mode=control"]
    if machine.qmp_socket is not None:
        argv += ["-qmp", f"unix:{_escape(str(machine.qmp_socket))},server=on,wait=off"]
    return argv


@functools.cache
def sandbox() -> tuple[str, ...]:
    """Return QEMU's sandbox options; none where they are unsupported.

    A QEMU without seccomp rejects them, and so do some containers. This is tried with an empty
    machine, which takes less than 0.1 s.
    """
    command = ["qemu-system-x86_64", *_TRIAL, *_SANDBOX, "-monitor", "stdio"]
    try:
        done = subprocess.run(
            command, input=b"quit\n", capture_output=True, timeout=_TRIAL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return _SANDBOX if done.returncode == 0 else ()


def _memory(machine: Machine) -> list[str]:
    """Return the options for the machine and its memory, one backend per node."""
    slots = (
        f",slots={_SLOTS},maxmem={machine.memory + machine.hotplug_memory}B"
        if machine.hotplug_memory
        else ""
    )
    argv = ["-m", f"{machine.memory}B{slots}"]
    size, names = machine.memory // machine.nodes, [f"memory{n}" for n in range(machine.nodes)]
    for name in names:
        # Unreserved: a guest may have more memory than the host, as long as it does not touch it.
        argv += ["-object", f"memory-backend-ram,id={name},size={size}B,reserve=off"]
    if machine.nodes == 1:
        return [*argv, "-machine", f"q35,memory-backend={names[0]}"]
    return [
        *argv,
        "-machine",
        "q35",
        *(word for n in names for word in ("-numa", f"node,memdev={n}")),
    ]


def _escape(value: str) -> str:
    """Write a value inside a comma-separated option."""
    return value.replace(",", ",,")


class Qemu:
    """A QEMU process, started by the constructor; it ends with this process, however that ends."""

    def __init__(self, machine: Machine) -> None:
        tools.require(tools.RUN_PROGRAMS)
        self._output = os.memfd_create("qemu-stderr")
        sockets = [fd for fd in (machine.agent, machine.monitor) if fd is not None]
        self._process = subprocess.Popen(
            command_ending_with_parent(command_line(machine)),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            pass_fds=(*sockets, *machine.descriptors),
            # Ctrl-C on the terminal is for the command in the guest, not for QEMU.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid

    @property
    def last_output(self) -> str:
        """The last lines it wrote to its standard streams."""
        text = os.pread(self._output, _MOST_OUTPUT, 0).decode(errors="replace")
        return "; ".join(text.strip().splitlines()[-2:])

    def wait(self, timeout: float) -> int | None:
        """Return its status when it ends within `timeout` seconds, else None."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it at once; for any thread."""
        self._process.kill()

    def close(self) -> None:
        """End QEMU if it still runs, and discard its output."""
        self._process.kill()
        self._process.wait()
        os.close(self._output)


def clear_socket(path: Path) -> None:
    """Remove a socket on which no process listens, as a killed QEMU leaves it.

    Raises UsageError for a socket in use, and for any other file: QEMU would replace it.
    """
    try:
        with files.place_of(path) as place:
            if place.found is None:
                return
            if path.is_symlink() or not stat.S_ISSOCK(place.found.st_mode):
                raise UsageError(f"{path} is not a socket", "name a path that does not exist yet")
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.settimeout(0)
                    probe.connect(f"/proc/self/fd/{place.folder}/{place.name}")
            except ConnectionRefusedError:
                os.unlink(place.name, dir_fd=place.folder)
                return
    except FileNotFoundError:
        return
    except OSError as error:
        # BlockingIOError: the queue of a listening process is full.
        if not isinstance(error, BlockingIOError):
            raise UsageError(f"{path}: {error.strerror or error}", "choose another path") from None
    raise UsageError(f"another process listens at {path}", "choose another path for this guest")


def last_lines(console: Path, count: int) -> tuple[str, ...]:
    """Return the last lines of a console log that are not empty."""
    try:
        text = console.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return ()
    printable = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\n\t]", "", text)
    lines = [line.rstrip() for line in printable.splitlines()]
    return tuple([line for line in lines if line][-count:])
