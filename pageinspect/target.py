"""Opens what is looked at: this kernel or a core, never another one in its place."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drgn import Architecture, BadDataError, FaultError, Platform, Program, ProgramFlags

from . import formats, kcore, rights, vmcoreinfo
from .btf import Answers
from .drgn_log import quiet
from .errors import PageInspectError, UsageError
from .symbols import Given, Symbols, attach_symbols


@dataclass(frozen=True, slots=True)
class Guest:
    """How a QEMU guest is looked at from outside."""

    paused: bool
    """It stands still while it is read."""
    barred: str
    """Why it is not read in QEMU's memory, but through its monitor; "" when it is."""

    def describe(self) -> str:
        """Return it as words for people."""
        state = "paused" if self.paused else "running"
        if not self.barred:
            return f"a {state} QEMU guest, read in QEMU's memory"
        stopped = "" if self.paused else "; it stops for each piece"
        return f"a {state} QEMU guest, read through its monitor ({self.barred}{stopped})"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer comes from: part of every report."""

    release: str
    source: Literal["live", "core", "qemu"]
    symbols: Symbols
    because: str = ""
    """Why the symbols are from VMCOREINFO alone."""
    notes: tuple[str, ...] = ()
    """What to know of how the core was read, as sentences for people."""
    guest: Guest | None = None
    """Of source qemu."""

    @property
    def changing(self) -> bool:
        """Whether the kernel ran while it was read."""
        return self.source == "live" or (self.guest is not None and not self.guest.paused)

    def describe(self) -> str:
        """Return it as words for people."""
        if self.guest is not None:
            where = self.guest.describe()
        else:
            where = {"live": "this kernel", "core": "a core"}[self.source]
        alone = " alone" if self.symbols == "vmcoreinfo" else ""
        return f"Linux {self.release}, {where}, types from {self.symbols.upper()}{alone}"


@dataclass(frozen=True, slots=True)
class Target:
    """A kernel that is looked at: its drgn Program and where it comes from."""

    prog: Program
    provenance: Provenance
    vmcoreinfo: dict[str, str]
    answers: tuple[Answers, ...] = ()
    """What was asked of the kernel's BTF and symbols, to be saved for the next time."""


def _check_readable(path: Path, what: str) -> None:
    try:
        path.stat()
    except PermissionError:
        raise PageInspectError(
            f"{path}: permission denied", f"run as a user who may enter the folder of the {what}"
        ) from None
    except OSError as error:
        raise PageInspectError(
            f"{path}: {str(error.strerror).lower()}", f"check the path of the {what}"
        ) from None
    if path.is_dir():
        raise PageInspectError(f"{path} is a directory", f"name the {what} itself")
    if not path.is_file():
        raise PageInspectError(f"{path} is no regular file", f"copy the {what} to a file first")
    if not os.access(path, os.R_OK):
        raise PageInspectError(
            f"{path}: permission denied", f"run as root, or as a user who may read the {what}"
        )


def _open_core(prog: Program, path: Path) -> tuple[str, ...]:
    """Open a core and return notes on its form."""
    _check_readable(path, "core")
    opened = formats.prepare(path)
    try:
        # The notes say so already.
        with quiet("flattened"):
            prog.set_core_dump(opened.source)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - drgn raises it for what libkdumpfile finds
        if "unrecognized QEMU memory dump" in str(error):
            raise PageInspectError(f"{path} lacks VMCOREINFO", formats.NO_VMCOREINFO_HINT) from None
        raise PageInspectError(
            f"{path} is not a core that can be read: {error}",
            "give a kernel core: ELF with VMCOREINFO (pageinspect vm dump) or kdump (makedumpfile)",
        ) from None
    _check_architecture(prog, path)
    return opened.notes


def _check_architecture(prog: Program, path: Path) -> None:
    """Raise PageInspectError for another machine's memory than that of x86_64."""
    platform = prog.platform
    if platform is None or platform.arch != Architecture.X86_64:
        name = "an unknown architecture" if platform is None else platform.arch.name.lower()
        raise other_architecture(path, name)


def other_architecture(path: Path, name: str) -> PageInspectError:
    """Return the error for another machine's memory than that of x86_64."""
    return PageInspectError(
        f"{path} is of {name}", "pageinspect reads kernels of x86_64 alone, 64-bit ones"
    )


def _open_live(prog: Program) -> None:
    if not kcore.PATH.exists():
        raise PageInspectError(
            f"this kernel has no {kcore.PATH} (CONFIG_PROC_KCORE)",
            "give a core (-c FILE), or try a guest: pageinspect vm run newest -- pageinspect types",
        )
    needed = rights.kcore()
    if rights.lacking(needed):
        raise PageInspectError(
            f"reading this kernel's memory ({kcore.PATH}) takes root, or capabilities",
            f"{rights.advice(needed)}; the commands that walk pages also take a core: -c FILE",
        )
    try:
        prog.set_kernel()
    except (ValueError, LookupError, FaultError, OSError) as error:
        raise PageInspectError(
            f"cannot read this kernel's memory: {error}",
            "a locked-down kernel (see /sys/kernel/security/lockdown) or a container forbids it",
        ) from None


def _read_vmcoreinfo(prog: Program) -> dict[str, str]:
    try:
        text = prog["VMCOREINFO"].string_().decode("ascii", "replace")
    except (LookupError, FaultError):
        return {}
    return vmcoreinfo.parse(text)


def adopt_program(prog: Program) -> Target:
    """Return the target that a drgn Program looks at, such as that of drgn's own prompt.

    Types come from the Program as it is, or from the kernel itself where it knows no struct page.
    Raises PageInspectError.
    """
    info = _read_vmcoreinfo(prog)
    if not info:
        raise PageInspectError(
            "this drgn Program looks at no Linux kernel", "open a kernel: drgn -k, or drgn -c CORE"
        )
    live = prog.flags & ProgramFlags.IS_LIVE and prog.flags & ProgramFlags.IS_LOCAL
    if prog.flags & ProgramFlags.IS_LIVE and not live:
        raise PageInspectError(
            "this drgn Program looks at a QEMU guest", "open it with open_guest(), not with drgn"
        )
    source: Literal["live", "core"] = "live" if live else "core"
    try:
        prog.type("struct page")
    except LookupError:
        return target_of(prog, Given(), source)
    release = info.get("OSRELEASE", "unknown")
    return Target(prog, Provenance(release, source, "dwarf"), info)


def new_program(given: Given, *, live: bool, platform: Platform | None = None) -> Program:
    """Return a drgn Program that looks at nothing yet, after a look at the files that are given.

    `platform` is for what drgn does not open itself. Raises PageInspectError for files that cannot
    be read, and for what does not go together.
    """
    if given.vmlinux and (given.btf or given.kallsyms or given.only):
        raise UsageError(
            "-s is where types and symbols come from, all of them",
            "leave --btf, --kallsyms and --symbols-from away, or -s",
        )
    if given.only == "vmcoreinfo" and (given.btf or given.kallsyms):
        raise UsageError(
            "--symbols-from vmcoreinfo takes nothing else", "leave --btf and --kallsyms away"
        )
    if given.vmcoreinfo and live:
        raise UsageError(
            "--vmcoreinfo is for cores that lack it", "name the core: -c FILE, or leave it away"
        )
    for what in ("vmlinux", "btf", "kallsyms", "vmcoreinfo"):
        path = getattr(given, what)
        if path is not None:
            _check_readable(path, what if what in ("vmlinux", "kallsyms") else what.upper())
    text = None if given.vmcoreinfo is None else vmcoreinfo.read_file(given.vmcoreinfo)
    try:
        prog = Program(platform, vmcoreinfo=text)
    except (ValueError, BadDataError) as error:
        raise PageInspectError(
            f"{given.vmcoreinfo} cannot be used: {error}",
            "give the VMCOREINFO as the kernel wrote it",
        ) from None
    prog.set_enabled_debug_info_finders([])
    return prog


def _check_same_boot(prog: Program, info: dict[str, str], path: Path) -> None:
    """Refuse a VMCOREINFO by which the core's kernel is not where it should be."""
    address = vmcoreinfo.symbol(info, "init_uts_ns") + vmcoreinfo.offset(info, "uts_namespace.name")
    try:
        # Of struct new_utsname, the third text of 65 bytes.
        found = prog.read_c_string(address + 2 * 65, max_size=65).decode("ascii", "replace")
    except FaultError:
        found = ""
    if found != info["OSRELEASE"]:
        raise PageInspectError(
            f"{path} is of another kernel or another boot: no Linux {info['OSRELEASE']} is where "
            "it says",
            "the addresses change with each boot: give the VMCOREINFO of this very one",
        )


def open_target(core: Path | None = None, given: Given | Path | None = None) -> Target:
    """Open the core `core`, or this kernel when it is None or /proc/kcore.

    Types come from what is given (a path is that of a vmlinux), else from the kernel itself:
    nothing is searched for elsewhere, nothing is downloaded. Raises PageInspectError.
    """
    if not isinstance(given, Given):
        given = Given(vmlinux=given)
    if core is not None and kcore.is_kcore(core):
        core = None
    prog = new_program(given, live=core is None)
    notes: tuple[str, ...] = ()
    if core is None:
        _open_live(prog)
    else:
        notes = _open_core(prog, core)
    if not _read_vmcoreinfo(prog):
        raise PageInspectError(
            f"{core or kcore.PATH} is no kernel, or lacks VMCOREINFO",
            formats.NO_VMCOREINFO_HINT,
        )
    return target_of(prog, given, "live" if core is None else "core", notes)


def target_of(
    prog: Program,
    given: Given,
    source: Literal["live", "core"] | Guest,
    notes: tuple[str, ...] = (),
) -> Target:
    """Return the target that a drgn Program with a kernel's memory looks at.

    Raises PageInspectError.
    """
    info = _read_vmcoreinfo(prog)
    if given.vmcoreinfo is not None:
        _check_same_boot(prog, info, given.vmcoreinfo)
    symbols, because, answers = attach_symbols(prog, info, given, live=source == "live")
    release = info.get("OSRELEASE", "unknown")
    guest = source if isinstance(source, Guest) else None
    kind: Literal["live", "core", "qemu"] = "qemu" if isinstance(source, Guest) else source
    return Target(prog, Provenance(release, kind, symbols, because, notes, guest), info, answers)
