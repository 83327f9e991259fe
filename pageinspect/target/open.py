# SPDX-License-Identifier: GPL-2.0-only
"""Opens the running kernel or a core."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from drgn import BadDataError, FaultError, Platform, Program, ProgramFlags

from ..errors import PageInspectError, UsageError
from ..host import capabilities
from ..host.files import is_trusted
from ..model import arch
from ..model.provenance import GuestState, Provenance, Symbols
from ..units import printable
from . import core_formats, core_memory, kcore, vmcoreinfo, vmcoreinfo_search
from .debug_info import has_debug_info
from .platform import ARCHITECTURE
from .symbols import SymbolCache, finders
from .symbols.sources import SymbolOptions, attach_symbols

Registers = Mapping[int, tuple[int, int]]
"""(program counter, stack pointer) of each CPU, by CPU number."""


@dataclass(frozen=True, slots=True)
class Target:
    """An open kernel."""

    prog: Program
    provenance: Provenance
    vmcoreinfo: dict[str, str]
    """The lines of VMCOREINFO by key."""
    symbol_caches: tuple[SymbolCache, ...] = ()
    """Results of lookups in the kernel's BTF and symbols, to be saved for later runs."""
    registers: Callable[[], Registers] | None = None
    """Reads the registers of a guest. None for a core: drgn has them."""
    core: Path | None = None
    """The path of the core as the user gave it."""

    def save_symbol_caches(self, source: Path | None) -> None:
        """Save the symbol caches of the core or guest socket `source`; None is the running kernel.

        Nothing is saved if another user can change or replace `source`.
        """
        if source is None or is_trusted(source):
            for cache in self.symbol_caches:
                cache.save()


def _check_readable(path: Path, what: str) -> None:
    try:
        path.stat()
    except PermissionError:
        raise PageInspectError(
            f"{path}: permission denied", f"run as a user who may enter the folder of the {what}"
        ) from None
    except OSError as error:
        raise PageInspectError(
            f"{path}: {str(error.strerror).lower()}",
            f"check the path of the {what}{_dataset(path)}",
        ) from None
    if path.is_dir():
        or_dataset = "; a dataset of snapshots has a folder snapshots, and this one has none"
        raise PageInspectError(
            f"{path} is a directory",
            f"name the {what} itself{or_dataset if what == 'core' else ''}",
        )
    if not path.is_file():
        raise PageInspectError(f"{path} is not a regular file", f"copy the {what} to a file first")
    if not os.access(path, os.R_OK):
        raise PageInspectError(
            f"{path}: permission denied", f"run as root, or as a user who may read the {what}"
        )


def _dataset(path: Path) -> str:
    """Return what to add to a hint for a name with the signs of snapshots."""
    text = str(path)
    return ", or of the dataset, which ends before @ or #" if {"@", "#"} & {*text} else ""


def _open_core(prog: Program, path: Path) -> tuple[Program, core_formats.PreparedCore]:
    """Open a core; return the Program that reads it, `prog` or a new one, and the PreparedCore."""
    _check_readable(path, "core")
    opened = core_formats.prepare(path)
    try:
        core_memory.attach(prog, opened, path)
    except core_memory.NoVmcoreinfoError:
        if opened.headers is None:
            raise
        found = vmcoreinfo_search.find(path, opened.headers, partial(_opened_with, path, opened))
        if found is None:
            raise
        text, others = found
        prog = _opened_with(path, opened, text)
        rejected = f" ({others} other texts like it were rejected)" if others else ""
        note = f"{path} lacks the note VMCOREINFO; the text was found in its memory{rejected}"
        opened = replace(opened, notes=(*opened.notes, note))
    _check_architecture(prog, path)
    return prog, opened


def _opened_with(path: Path, opened: core_formats.PreparedCore, text: str) -> Program:
    """Return a Program that reads an ELF core with `text` as its VMCOREINFO."""
    prog = Program(vmcoreinfo=text)
    prog.set_enabled_debug_info_finders([])
    core_memory.attach(prog, opened, path)
    return prog


def _check_architecture(prog: Program, path: Path) -> None:
    """Raise PageInspectError if the core is not of an x86_64 machine."""
    platform = prog.platform
    if platform is None or platform.arch != ARCHITECTURE:
        name = "an unknown architecture" if platform is None else platform.arch.name.lower()
        raise unsupported_architecture(path, name)


def unsupported_architecture(path: Path, name: str) -> PageInspectError:
    """Return the error for a core or guest of another architecture."""
    return PageInspectError(
        f"{path} is of {name}", f"pageinspect reads {arch.NAME} kernels only, 64-bit ones"
    )


def _open_live(prog: Program) -> None:
    if not kcore.PATH.exists():
        raise PageInspectError(
            f"this kernel has no {kcore.PATH} (CONFIG_PROC_KCORE)",
            "give a core (-c FILE), or try a guest: pageinspect vm run newest -- pageinspect types",
        )
    needed = capabilities.kcore()
    if capabilities.lacking(needed):
        raise PageInspectError(
            f"reading this kernel's memory ({kcore.PATH}) needs root, or capabilities",
            f"{capabilities.advice(needed)}; commands that walk pages also accept a core: -c FILE",
        )
    try:
        prog.set_kernel()
    except (ValueError, LookupError, FaultError, OSError) as error:
        raise PageInspectError(
            f"cannot read this kernel's memory: {error}",
            "a locked-down kernel (see /sys/kernel/security/lockdown) or a container forbids it",
        ) from None


def core_path(target: Target) -> Path | None:
    """Return the path of the core that is read; None for a guest or an unnamed file."""
    try:
        path = target.prog.core_dump_path
    except UnicodeDecodeError:
        # drgn accepts any path, but returns only paths that are UTF-8.
        return None if target.core is None else target.core.resolve()
    return None if path is None else Path(path)


def target_from_program(prog: Program) -> Target:
    """Return the target of a drgn Program that is already open, such as the one of drgn's prompt.

    Types come from the Program, or from the kernel itself if the Program has no struct page. Raises
    PageInspectError.
    """
    info = vmcoreinfo.of_program(prog)
    if not info:
        raise PageInspectError(
            "this drgn Program has no Linux kernel open", "open a kernel: drgn -k, or drgn -c CORE"
        )
    live = prog.flags & ProgramFlags.IS_LIVE and prog.flags & ProgramFlags.IS_LOCAL
    if prog.flags & ProgramFlags.IS_LIVE and not live:
        raise PageInspectError(
            "this drgn Program has a QEMU guest open", "open it with open_guest(), not with drgn"
        )
    source: Literal["live", "core"] = "live" if live else "core"
    try:
        prog.type("struct page")
    except LookupError:
        return target_of(prog, SymbolOptions(), source)
    release = info.get("OSRELEASE", "unknown")
    # attach_btf() or the drgn plugin has set it.
    caches = None if has_debug_info(prog) else prog.config.get(finders.CONFIG)
    symbols: Symbols = "dwarf" if caches is None else "btf"
    return Target(prog, Provenance(release, source, symbols), info, caches or ())


def create_program(
    options: SymbolOptions, *, live: bool, platform: Platform | None = None
) -> Program:
    """Check the options, and return a drgn Program that has nothing open yet.

    `platform` is needed where drgn does not open a file itself (a guest). Raises PageInspectError
    for files that cannot be read, and UsageError for conflicting options.
    """
    if options.vmlinux and (options.btf or options.kallsyms or options.only):
        raise UsageError(
            "-s provides all types and symbols, and conflicts with other sources",
            "leave out --btf, --kallsyms and --symbols-from, or -s",
        )
    if options.only == "vmcoreinfo" and (options.btf or options.kallsyms):
        raise UsageError(
            "--symbols-from vmcoreinfo uses no other source", "leave out --btf and --kallsyms"
        )
    if options.vmcoreinfo and live:
        raise UsageError(
            "--vmcoreinfo is for cores that lack it", "name the core: -c FILE, or leave it out"
        )
    for what in ("vmlinux", "btf", "kallsyms", "vmcoreinfo"):
        path = getattr(options, what)
        if path is not None:
            _check_readable(path, what if what in ("vmlinux", "kallsyms") else what.upper())
    text = None if options.vmcoreinfo is None else vmcoreinfo.read_file(options.vmcoreinfo)
    try:
        prog = Program(platform, vmcoreinfo=text)
    except (ValueError, BadDataError) as error:
        raise PageInspectError(
            f"{options.vmcoreinfo} cannot be used: {error}",
            "give the VMCOREINFO as the kernel wrote it",
        ) from None
    prog.set_enabled_debug_info_finders([])
    return prog


def _check_same_boot(prog: Program, info: dict[str, str], path: Path) -> None:
    """Raise PageInspectError if the kernel is not at the address in this VMCOREINFO."""
    try:
        found = prog.read_c_string(vmcoreinfo.release_address(info), max_size=65)
    except FaultError:
        found = b""
    if found != info["OSRELEASE"].encode():
        raise PageInspectError(
            f"{path} is of another kernel or another boot: no Linux {info['OSRELEASE']} is at its "
            "address",
            "addresses change with each boot: give the VMCOREINFO of the same boot",
        )


def open_target(core: Path | None = None, options: SymbolOptions | Path | None = None) -> Target:
    """Open the core `core`, or the running kernel if it is None or /proc/kcore.

    Types come from `options` (a path is that of a vmlinux), else from the kernel itself. No folder
    is searched and nothing is downloaded. Raises PageInspectError.
    """
    if not isinstance(options, SymbolOptions):
        options = SymbolOptions(vmlinux=options)
    if core is not None and kcore.is_kcore(core):
        core = None
    prog = create_program(options, live=core is None)
    if core is None:
        _open_live(prog)
        opened = core_formats.PreparedCore(kcore.PATH)
    else:
        prog, opened = _open_core(prog, core)
    if not vmcoreinfo.of_program(prog):
        raise PageInspectError(
            f"{core or kcore.PATH} is not a kernel core, or lacks VMCOREINFO",
            core_formats.NO_VMCOREINFO_HINT,
        )
    # A path may contain any bytes.
    notes = tuple(map(printable, opened.notes))
    target = target_of(prog, options, "live" if core is None else "core", notes)
    provenance = replace(
        target.provenance, is_whole=opened.is_whole, target="" if core is None else str(core)
    )
    return replace(target, provenance=provenance, core=core)


def target_of(
    prog: Program,
    options: SymbolOptions,
    source: Literal["live", "core"] | GuestState,
    notes: tuple[str, ...] = (),
) -> Target:
    """Find types and symbols for a drgn Program with a kernel's memory, and return its Target.

    `notes` are sentences for the user. Raises PageInspectError.
    """
    info = vmcoreinfo.of_program(prog)
    if options.vmcoreinfo is not None:
        _check_same_boot(prog, info, options.vmcoreinfo)
    symbols, because, caches = attach_symbols(prog, info, options, live=source == "live")
    release = info.get("OSRELEASE", "unknown")
    guest = source if isinstance(source, GuestState) else None
    kind: Literal["live", "core", "qemu"] = "qemu" if isinstance(source, GuestState) else source
    return Target(prog, Provenance(release, kind, symbols, because, notes, guest), info, caches)
