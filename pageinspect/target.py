"""Opens what is looked at: this kernel or a core, never another one in its place."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drgn import FaultError, MissingDebugInfoError, Program, ProgramFlags

from .btf import attach_btf
from .errors import PageInspectError

KCORE = Path("/proc/kcore")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer comes from: part of every report."""

    release: str
    source: Literal["live", "core"]
    symbols: Literal["dwarf", "btf"]

    def describe(self) -> str:
        """Return it as words for people."""
        where = {"live": "this kernel", "core": "a core"}[self.source]
        return f"Linux {self.release}, {where}, types from {self.symbols.upper()}"


@dataclass(frozen=True, slots=True)
class Target:
    """A kernel that is looked at: its drgn Program and where it comes from."""

    prog: Program
    provenance: Provenance
    vmcoreinfo: dict[str, str]


def _check_readable(path: Path, what: str) -> None:
    if not path.exists():
        raise PageInspectError(f"{path}: no such file", f"check the path of the {what}")
    if path.is_dir():
        raise PageInspectError(f"{path} is a directory", f"name the {what} itself")
    if not os.access(path, os.R_OK):
        raise PageInspectError(
            f"{path}: permission denied", f"run as root, or as a user who may read the {what}"
        )


def _open_core(prog: Program, path: Path) -> None:
    _check_readable(path, "core")
    try:
        prog.set_core_dump(path)
    except (ValueError, LookupError, FaultError, OSError) as error:
        raise PageInspectError(
            f"{path} is not a core that can be read: {error}",
            "give a kernel core: ELF with VMCOREINFO (pageinspect vm dump) or kdump (makedumpfile)",
        ) from None


def _open_live(prog: Program) -> None:
    if os.geteuid() != 0:
        raise PageInspectError(
            f"reading this kernel's memory ({KCORE}) takes root",
            "run it with sudo; the commands that walk pages also take a core: -c FILE",
        )
    if not KCORE.exists():
        raise PageInspectError(
            f"this kernel has no {KCORE} (CONFIG_PROC_KCORE)",
            "give a core (-c FILE), or try a guest: pageinspect vm run newest -- pageinspect types",
        )
    try:
        prog.set_kernel()
    except (ValueError, LookupError, FaultError, OSError) as error:
        raise PageInspectError(
            f"cannot read this kernel's memory: {error}",
            "a locked-down kernel (see /sys/kernel/security/lockdown) or a container forbids it",
        ) from None


def _load_dwarf(prog: Program, vmlinux: Path) -> None:
    _check_readable(vmlinux, "vmlinux")
    # drgn logs what it refuses; the error below says so in one line.
    logger = logging.getLogger("drgn")
    logger.addFilter(_silence)
    try:
        prog.load_debug_info([vmlinux])
        prog.type("struct page")
    except (MissingDebugInfoError, ValueError, OSError, LookupError) as error:
        raise PageInspectError(
            f"{vmlinux} does not describe this kernel: {str(error).splitlines()[0]}",
            "give the vmlinux with debug information of the very same build, or leave -s away",
        ) from None
    finally:
        logger.removeFilter(_silence)


def _silence(_record: logging.LogRecord) -> bool:
    return False


def _read_vmcoreinfo(prog: Program) -> dict[str, str]:
    try:
        text = prog["VMCOREINFO"].string_().decode("ascii", "replace")
    except (LookupError, FaultError):
        return {}
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def adopt_program(prog: Program) -> Target:
    """Return the target that a drgn Program looks at, such as that of drgn's own prompt.

    Types come from the Program as it is, or from the kernel's BTF where it knows no struct page.
    Raises PageInspectError.
    """
    vmcoreinfo = _read_vmcoreinfo(prog)
    if not vmcoreinfo:
        raise PageInspectError(
            "this drgn Program looks at no Linux kernel", "open a kernel: drgn -k, or drgn -c CORE"
        )
    live = bool(prog.flags & ProgramFlags.IS_LIVE)
    symbols: Literal["dwarf", "btf"] = "dwarf"
    try:
        prog.type("struct page")
    except LookupError:
        symbols = "btf"
        attach_btf(prog, live=live)
    release = vmcoreinfo.get("OSRELEASE", "unknown")
    return Target(prog, Provenance(release, "live" if live else "core", symbols), vmcoreinfo)


def open_target(core: Path | None = None, symbols: Path | None = None) -> Target:
    """Open the core `core`, or this kernel when it is None.

    Types come from the DWARF of `symbols` when given, else from the kernel's own BTF: nothing is
    searched for elsewhere, nothing is downloaded. Raises PageInspectError.
    """
    prog = Program()
    prog.set_enabled_debug_info_finders([])
    if core is None:
        _open_live(prog)
    else:
        _open_core(prog, core)
    vmcoreinfo = _read_vmcoreinfo(prog)
    if not vmcoreinfo:
        raise PageInspectError(
            f"{core or KCORE} is no kernel, or lacks VMCOREINFO",
            "dump a QEMU guest with -device vmcoreinfo and the module qemu_fw_cfg loaded in it",
        )
    if symbols is not None:
        _load_dwarf(prog, symbols)
    else:
        attach_btf(prog, live=core is None)
    return Target(
        prog,
        Provenance(
            vmcoreinfo.get("OSRELEASE", "unknown"),
            "live" if core is None else "core",
            "btf" if symbols is None else "dwarf",
        ),
        vmcoreinfo,
    )
