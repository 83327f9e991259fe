# SPDX-License-Identifier: GPL-2.0-only
"""Types and symbols from a vmlinux with debug information."""

from pathlib import Path

from drgn import FaultError, MissingDebugInfoError, Program

from ...errors import PageInspectError
from ..drgn_log import suppress_log
from ..vmcoreinfo import Info

_BUILD_ID_NOTE = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"
_SAME_BUILD = "give the vmlinux with debug information of the same build, or leave out -s"


def load_dwarf(prog: Program, info: Info, vmlinux: Path) -> None:
    """Load the vmlinux of the kernel that `prog` has open.

    Raises PageInspectError if it is of another build, or has no debug information.
    """
    try:
        # drgn logs why it refuses a file. The errors below report it in one line.
        with suppress_log():
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
    """Return the build id of an ELF file in hexadecimal, or None if it has none."""
    prog = Program()
    prog.set_enabled_debug_info_finders([])
    module = prog.extra_module("vmlinux", create=True)
    module.try_file(path, force=True)
    return None if module.build_id is None else module.build_id.hex()


def _build_id_in_memory(prog: Program) -> str | None:
    """Return the build id in the ELF notes of the kernel image in memory, or None.

    Since Linux kernel commit 0935288c6e00 ("kdump: append kernel build-id string to VMCOREINFO")
    (in v5.9), VMCOREINFO has it.
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
