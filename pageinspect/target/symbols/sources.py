"""Where types and symbols come from: a vmlinux that is named, the kernel's own BTF, VMCOREINFO.

In this order, and nothing else: no folder is searched and no server asked.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drgn import Program, offsetof, sizeof

from ...errors import PageInspectError
from ...model.provenance import Symbols
from ..vmcoreinfo import Info
from . import Answers, attach_btf
from .dwarf import load_dwarf


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
        load_dwarf(prog, info, given.vmlinux)
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
