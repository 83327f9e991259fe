# SPDX-License-Identifier: GPL-2.0-only
"""One function per requirement: each tries it and returns what it found."""

import importlib
import os
import re
import subprocess
from functools import partial
from pathlib import Path

from ..errors import PageInspectError
from ..host import capabilities
from ..model import elf
from ..model.arch import PAGE_SIZE
from ..units import counted
from ..vm import accel, catalogue, initrd, kernel, qemu, tools
from .error_findings import error_finding
from .finding import Finding

_BTF_MAGIC = b"\x9f\xeb"
_MOST_SEGMENTS = 1 << 16
_AN_ADDRESS = re.compile(rb"^(?!0{16} ).", re.MULTILINE)
_QEMU_PATIENCE_S = 10.0


def privilege(root: Path) -> Finding:
    """Check the permission of /proc/kcore and the capability to read it."""
    lacks = capabilities.lacking(capabilities.kcore(root), root)
    found = f"uid {os.geteuid()}"
    if not lacks:
        return Finding(ok=True, found=found)
    fix = capabilities.advice(lacks, root=root)
    return Finding(ok=False, found=f"{found}, without {' and '.join(lacks)}", fix=fix)


def lockdown(root: Path) -> Finding:
    """Read the lockdown level: confidentiality forbids reading kernel memory."""
    level = capabilities.lockdown(root)
    if level == "confidentiality":
        fix = "boot without lockdown=confidentiality; a running kernel cannot lower the level"
        return Finding(ok=False, found=level, fix=fix)
    return Finding(ok=True, found=level or "unavailable (no securityfs)")


def kcore(root: Path) -> Finding:
    """Read a page of the kernel's memory through /proc/kcore."""
    try:
        descriptor = os.open(root / "proc/kcore", os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = len(os.pread(descriptor, PAGE_SIZE, _first_segment(descriptor)))
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        return error_finding(
            error, root, "a kernel with CONFIG_PROC_KCORE; not needed for a core: -c FILE"
        )
    except OSError as error:
        return error_finding(
            error, root, "not needed for a core: -c FILE", capabilities.kcore(root)
        )
    except (ValueError, StopIteration):
        return Finding(ok=False, found="is not an ELF core", fix="not needed for a core: -c FILE")
    return Finding(ok=size == PAGE_SIZE, found=f"read {size} bytes of it")


def _first_segment(descriptor: int) -> int:
    """Return the file offset of the first segment with memory."""
    segments = elf.program_headers(partial(os.pread, descriptor), _MOST_SEGMENTS)
    return next(segment.offset for segment in segments if segment.type == elf.LOAD)


def btf(root: Path) -> Finding:
    """Read the kernel's BTF."""
    try:
        data = (root / "sys/kernel/btf/vmlinux").read_bytes()
    except OSError as error:
        fix = "a kernel with CONFIG_DEBUG_INFO_BTF, or its vmlinux with DWARF: -s VMLINUX"
        return error_finding(error, root, fix)
    ok = data.startswith(_BTF_MAGIC)
    return Finding(ok=ok, found=f"{len(data) / 1e6:.1f} MB" if ok else "is not BTF")


def kallsyms(root: Path) -> Finding:
    """Read the kernel's symbols and check that they have addresses."""
    try:
        symbols = (root / "proc/kallsyms").read_bytes()
    except OSError as error:
        return error_finding(error, root, "a kernel with CONFIG_KALLSYMS_ALL")
    if _AN_ADDRESS.search(symbols):
        return Finding(ok=True, found=counted(symbols.count(b"\n"), "symbol"))
    fix = "sysctl kernel.kptr_restrict=1"
    if capabilities.lacking(capabilities.SYMBOLS, root):
        fix = capabilities.advice(capabilities.SYMBOLS, root=root)
    return Finding(ok=False, found="addresses are hidden", fix=fix)


def bcc(root: Path) -> Finding:
    """Load the BPF Compiler Collection."""
    from ..trace.find_bcc import find_bcc, load_bcc

    try:
        package = find_bcc(root)
    except PageInspectError as error:
        return Finding(ok=False, found="not installed", fix=f"{error.message}; {error.hint}")
    try:
        version = load_bcc(package).__version__
    except PageInspectError as error:
        return Finding(ok=False, found="cannot be loaded", fix=f"{error.message}; {error.hint}")
    return Finding(ok=True, found=str(version))


def compiled_programs(_root: Path) -> Finding:
    """Count the compiled BPF programs in the cache folder, if it can be trusted."""
    from ..trace.program_cache import kept_programs, programs_folder

    try:
        return Finding(ok=True, found=f"{kept_programs()} kept in {programs_folder()}")
    except PageInspectError as error:
        return Finding(ok=False, found=error.message, fix=error.hint)


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
        return Finding(ok=False, found="cannot be loaded", fix=f"{reason}; pip install {name}")
    return Finding(ok=True, found=str(module.__version__))


def emulator(_root: Path) -> Finding:
    """Run QEMU with --version."""
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
        return Finding(ok=False, found="not installed", fix=error.hint)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(ok=False, found="does not start", fix=str(error))
    return Finding(ok=True, found=done.stdout.partition("version ")[2].split(" ")[0].strip())


def kvm(root: Path) -> Finding:
    """Start a guest under KVM, once for each boot of this machine."""
    slow = "guests run without it, some twenty times slower"
    device = root / "dev/kvm"
    if not device.exists():
        fix = f"enable virtualisation in the firmware, load kvm_intel or kvm_amd; {slow}"
        return Finding(ok=False, found="no /dev/kvm", fix=fix)
    if not os.access(device, os.R_OK | os.W_OK):
        fix = f"join the group of /dev/kvm; {slow}"
        return Finding(ok=False, found="permission denied", fix=fix)
    built = next(filter(None, map(kernel.built, kernel.all_kernels())), None)
    if built is None:
        fix = f"pageinspect vm build {catalogue.NEWEST}"
        return Finding(ok=False, found="not tried: no kernel is built", fix=fix)
    try:
        tools.require(tools.RUN_PROGRAMS)
        # The common initrd is enough: its init script reports its start before it loads modules.
        works = accel.choose(accel.AUTO, built.vmlinuz, str(initrd.base())) == qemu.KVM
    except PageInspectError as error:
        return Finding(ok=False, found="could not be tried", fix=f"{error.message}; {error.hint}")
    if works:
        return Finding(ok=True, found="a guest started under it")
    return Finding(ok=False, found="guests die or hang under it", fix=slow)
