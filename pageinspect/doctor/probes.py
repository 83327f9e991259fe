"""One function a thing that is needed: each tries it and says what it found."""

import errno
import importlib
import os
import re
import struct
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import PageInspectError
from ..units import counted
from ..vm import accel, catalogue, initrd, kernel, qemu, tools
from . import syscalls
from .finding import Finding

_CAPABILITIES = {
    17: "SYS_RAWIO",
    21: "SYS_ADMIN",
    24: "SYS_RESOURCE",
    34: "SYSLOG",
    38: "PERFMON",
    39: "BPF",
}
_AS_ROOT = "run as root"
_BTF_MAGIC = b"\x9f\xeb"
_PAGE_SIZE = 4096
_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_PT_LOAD = 1
_AN_ADDRESS = re.compile(rb"^(?!0{16} ).", re.MULTILINE)
_RAW_TRACEPOINT = b" __bpf_trace_mm_page_free\n"
_NEEDED_BPF = "it takes Linux 5.8 or later with CONFIG_BPF_SYSCALL and CONFIG_BPF_EVENTS"
_QEMU_PATIENCE_S = 10.0


def _is_root() -> bool:
    return os.geteuid() == 0


def _locked_down(root: Path) -> str:
    """Return the lockdown level: none, integrity, confidentiality; empty when it is not told."""
    try:
        text = (root / "sys/kernel/security/lockdown").read_text(encoding="ascii")
    except OSError:
        return ""
    return text.partition("[")[2].partition("]")[0]


def _failed(error: OSError, root: Path, otherwise: str) -> Finding:
    """Return the finding for what the kernel refused; `otherwise` mends what no rule forbids."""
    mend = otherwise
    if _locked_down(root) == "confidentiality":
        mend = "the lockdown forbids it"
    elif error.errno in {errno.EPERM, errno.EACCES}:
        mend = "run outside a container, with all capabilities" if _is_root() else _AS_ROOT
    return Finding(ok=False, found=error.strerror or str(error), mend=mend)


def privilege(root: Path) -> Finding:
    """Look for root, and for those of its capabilities that matter here."""
    if not _is_root():
        return Finding(ok=False, found=f"uid {os.geteuid()}", mend=_AS_ROOT)
    status = (root / "proc/self/status").read_text(encoding="ascii")
    (effective,) = (
        int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")
    )
    lacking = [name for bit, name in _CAPABILITIES.items() if not effective >> bit & 1]
    return Finding(ok=True, found=f"without {', '.join(lacking)}" if lacking else "uid 0")


def lockdown(root: Path) -> Finding:
    """Look at the lockdown: that for confidentiality forbids to read the kernel's memory."""
    level = _locked_down(root)
    if level == "confidentiality":
        mend = "boot without lockdown=confidentiality; no level can be left while the kernel runs"
        return Finding(ok=False, found=level, mend=mend)
    return Finding(ok=True, found=level or "not told (no securityfs)")


def kcore(root: Path) -> Finding:
    """Read a page of the kernel's memory through /proc/kcore."""
    try:
        descriptor = os.open(root / "proc/kcore", os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = len(os.pread(descriptor, _PAGE_SIZE, _first_segment(descriptor)))
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        return _failed(error, root, "a kernel with CONFIG_PROC_KCORE; a core needs none: -c FILE")
    except OSError as error:
        return _failed(error, root, "a core needs none: -c FILE")
    except (struct.error, StopIteration):
        return Finding(ok=False, found="is no ELF file", mend="a core needs none: -c FILE")
    return Finding(ok=size == _PAGE_SIZE, found=f"read {size} bytes of it")


def _first_segment(descriptor: int) -> int:
    """Return the offset of the first segment with memory in it."""
    header = _ELF_HEADER.unpack(os.pread(descriptor, _ELF_HEADER.size, 0))
    start, count = header[5], header[10]
    table = os.pread(descriptor, count * _PROGRAM_HEADER.size, start)
    segments = _PROGRAM_HEADER.iter_unpack(table)
    return next(offset for kind, _, offset, *_ in segments if kind == _PT_LOAD)


def btf(root: Path) -> Finding:
    """Read the kernel's description of its own types."""
    try:
        data = (root / "sys/kernel/btf/vmlinux").read_bytes()
    except OSError as error:
        mend = "a kernel with CONFIG_DEBUG_INFO_BTF, or its vmlinux with DWARF: -s VMLINUX"
        return _failed(error, root, mend)
    ok = data.startswith(_BTF_MAGIC)
    return Finding(ok=ok, found=f"{len(data) / 1e6:.1f} MB" if ok else "is no BTF")


def kallsyms(root: Path) -> Finding:
    """Read the kernel's symbols, which are to have addresses."""
    try:
        symbols = (root / "proc/kallsyms").read_bytes()
    except OSError as error:
        return _failed(error, root, "a kernel with CONFIG_KALLSYMS_ALL")
    if _AN_ADDRESS.search(symbols):
        return Finding(ok=True, found=counted(symbols.count(b"\n"), "symbol"))
    mend = "sysctl kernel.kptr_restrict=1" if _is_root() else _AS_ROOT
    return Finding(ok=False, found="addresses are hidden", mend=mend)


def bpf(root: Path) -> Finding:
    """Load a BPF program of two instructions."""
    attempt = partial(_load, syscalls.SOCKET_FILTER, syscalls.NOTHING)
    return _bpf(root, attempt, "loaded a program")


def bpf_reads(root: Path) -> Finding:
    """Load a BPF program that would read kernel memory."""
    attempt = partial(_load, syscalls.RAW_TRACEPOINT, syscalls.READS_KERNEL)
    return _bpf(root, attempt, "may read kernel memory")


def raw_tracepoints(root: Path) -> Finding:
    """Look whether a program could be attached to the raw tracepoint mm_page_free."""
    finding = _bpf(root, syscalls.try_raw_tracepoint, "mm_page_free is there")
    if not finding.ok:
        return finding
    try:
        known = _RAW_TRACEPOINT in (root / "proc/kallsyms").read_bytes()
    except OSError as error:
        return _failed(error, root, _NEEDED_BPF)
    return finding if known else Finding(ok=False, found="no mm_page_free", mend=_NEEDED_BPF)


def _load(kind: int, instructions: bytes) -> None:
    with syscalls.bpf_program(kind, instructions):
        pass


def _bpf(root: Path, attempt: Callable[[], None], found: str) -> Finding:
    try:
        attempt()
    except OSError as error:
        return _failed(error, root, _NEEDED_BPF)
    return Finding(ok=True, found=found)


def kprobes(root: Path) -> Finding:
    """Look whether the kernel would take a kprobe."""
    try:
        syscalls.try_kprobe(root / "sys/bus/event_source/devices/kprobe/type")
    except OSError as error:
        return _failed(error, root, "a kernel with CONFIG_KPROBE_EVENTS")
    return Finding(ok=True, found="would be placed")


def bcc(root: Path) -> Finding:
    """Load the BPF Compiler Collection."""
    from ..trace.find_bcc import find_bcc, load_bcc

    try:
        package = find_bcc(root)
    except PageInspectError as error:
        return Finding(ok=False, found="not installed", mend=f"{error.message}; {error.hint}")
    try:
        version = load_bcc(package).__version__
    except PageInspectError as error:
        return Finding(ok=False, found="cannot be loaded", mend=f"{error.message}; {error.hint}")
    return Finding(ok=True, found=str(version))


def drgn(_root: Path) -> Finding:
    """Load the library that reads kernels."""
    return _module("drgn")


def numpy(_root: Path) -> Finding:
    """Load the library that pages are decoded with."""
    return _module("numpy")


def _module(name: str) -> Finding:
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        # numpy raises RuntimeError on a processor that it was not built for.
        reason = str(error).strip().splitlines()[0]
        return Finding(ok=False, found="cannot be loaded", mend=f"{reason}; pip install {name}")
    return Finding(ok=True, found=str(module.__version__))


def emulator(_root: Path) -> Finding:
    """Start QEMU, as far as its version."""
    try:
        tools.require(tools.RUN_PROGRAMS)
        done = subprocess.run(
            [tools.find(tools.RUN_PROGRAMS[0]) or "", "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_QEMU_PATIENCE_S,
        )
    except PageInspectError as error:
        return Finding(ok=False, found="not installed", mend=error.hint)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(ok=False, found="does not start", mend=str(error))
    return Finding(ok=True, found=done.stdout.partition("version ")[2].split(" ")[0].strip())


def kvm(root: Path) -> Finding:
    """Start a guest under KVM, once for each boot of this machine."""
    slow = "guests run without it, some twenty times slower"
    device = root / "dev/kvm"
    if not device.exists():
        mend = f"enable virtualisation in the firmware, load kvm_intel or kvm_amd; {slow}"
        return Finding(ok=False, found="no /dev/kvm", mend=mend)
    if not os.access(device, os.R_OK | os.W_OK):
        mend = f"be in the group of /dev/kvm; {slow}"
        return Finding(ok=False, found="not yours to use", mend=mend)
    built = next(filter(None, map(kernel.built, kernel.all_kernels())), None)
    if built is None:
        mend = f"pageinspect vm build {catalogue.NEWEST}"
        return Finding(ok=False, found="not tried: no kernel is built", mend=mend)
    try:
        tools.require(tools.RUN_PROGRAMS)
        # The init script says that it started before it needs more than the common initrd.
        works = accel.choose(accel.AUTO, built.vmlinuz, str(initrd.base())) == qemu.KVM
    except PageInspectError as error:
        return Finding(ok=False, found="could not be tried", mend=f"{error.message}; {error.hint}")
    if works:
        return Finding(ok=True, found="a guest started under it")
    return Finding(ok=False, found="guests die or hang under it", mend=slow)
