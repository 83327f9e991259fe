"""Where types and symbols come from: a vmlinux that is named, the kernel's own BTF, VMCOREINFO.

In this order, and nothing else: no folder is searched and no server asked.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drgn import FaultError, MissingDebugInfoError, Program, offsetof, sizeof

from .btf import Answers, attach_btf
from .drgn_log import quiet
from .errors import PageInspectError
from .vmcoreinfo import Info

Symbols = Literal["dwarf", "btf", "vmcoreinfo"]

_BUILD_ID_NOTE = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"
_SAME_BUILD = "give the vmlinux with debug information of the very same build, or leave -s away"


@dataclass(frozen=True, slots=True)
class Given:
    """What the user gives or asks for; all of it optional."""

    vmlinux: Path | None = None
    """Types and symbols, as DWARF."""
    btf: Path | None = None
    """Types instead of the kernel's own."""
    kallsyms: Path | None = None
    """Symbols instead of the kernel's own, as in /proc/kallsyms or System.map."""
    vmcoreinfo: Path | None = None
    """VMCOREINFO instead of the core's."""
    only: Literal["btf", "vmcoreinfo"] | None = None
    """The one source to use, without falling back."""


def attach_symbols(
    prog: Program, info: Info, given: Given, *, live: bool
) -> tuple[Symbols, str, tuple[Answers, ...]]:
    """Let `prog` know its kernel's types and symbols.

    Returns their source, why there is no better one, and the answers that may be kept.

    What is given is used or refused: only the kernel's own BTF may be missing, and then VMCOREINFO
    alone has to do. Raises PageInspectError.
    """
    if given.vmlinux is not None:
        _load_dwarf(prog, info, given.vmlinux)
        return "dwarf", "", ()
    if given.only == "vmcoreinfo":
        return "vmcoreinfo", "", ()
    try:
        answers = attach_btf(prog, info, live=live, btf=given.btf, kallsyms=given.kallsyms)
    except PageInspectError as error:
        if given.only or given.btf or given.kallsyms:
            raise
        return "vmcoreinfo", f"{error.message} ({error.hint})", ()
    if given.btf is not None:
        _check_types(prog, info, given.btf)
    return "btf", "", answers


def _load_dwarf(prog: Program, info: Info, vmlinux: Path) -> None:
    try:
        # drgn logs what it refuses; the error below says so in one line.
        with quiet():
            has = _build_id(vmlinux)
            _compare_build_ids(vmlinux, has, info.get("BUILD-ID"))
            prog.load_debug_info([vmlinux])
            prog.type("struct page")
            if "BUILD-ID" not in info:
                _compare_build_ids(vmlinux, has, _build_id_in_memory(prog))
    except LookupError:
        release = info.get("OSRELEASE", "unknown")
        raise PageInspectError(
            f"{vmlinux} has no debug information that describes Linux {release}", _SAME_BUILD
        ) from None
    except (MissingDebugInfoError, ValueError, OSError) as error:
        raise PageInspectError(
            f"{vmlinux} does not describe this kernel: {str(error).splitlines()[0]}", _SAME_BUILD
        ) from None


def _build_id(path: Path) -> str | None:
    """Return the build id of an ELF file in hexadecimal, None when it has none."""
    prog = Program()
    prog.set_enabled_debug_info_finders([])
    module = prog.extra_module("vmlinux", create=True)
    module.try_file(path, force=True)
    return None if module.build_id is None else module.build_id.hex()


def _build_id_in_memory(prog: Program) -> str | None:
    """Return the build id in the notes of the kernel's image, where the symbols say they are.

    For kernels before Linux kernel commit 0935288c6e00 ("kdump: append kernel build-id string to
    VMCOREINFO") (in v5.9).
    """
    try:
        start, stop = (prog.symbol(f"__{end}_notes").address for end in ("start", "stop"))
        notes = prog.read(start, stop - start)
    except (LookupError, FaultError):
        return None
    position = notes.find(_BUILD_ID_NOTE)
    if position < 0:
        return None
    position += len(_BUILD_ID_NOTE)
    return notes[position : position + 20].hex()


def _compare_build_ids(vmlinux: Path, has: str | None, wanted: str | None) -> None:
    if has and wanted and has != wanted:
        raise PageInspectError(
            f"{vmlinux} is of another build: its build id is {has}, this kernel's {wanted}",
            _SAME_BUILD,
        )


def _check_types(prog: Program, info: Info, path: Path) -> None:
    """Refuse types whose sizes and offsets VMCOREINFO contradicts."""
    for key, value in info.items():
        kind, _, rest = key.partition("(")
        if kind not in ("SIZE", "OFFSET"):
            continue
        name, _, member = rest.rstrip(")").partition(".")
        try:
            type_ = prog.type(f"struct {name}")
            found = offsetof(type_, member) if member else sizeof(type_)
        except (LookupError, TypeError, ValueError):
            continue
        if found != int(value):
            raise PageInspectError(
                f"{path} is of another kernel: by it {key} is {found}, by VMCOREINFO {value}",
                "give /sys/kernel/btf/vmlinux of the very same build",
            )
