"""Forms of kernel cores: what is put right, or refused with advice, before drgn opens one.

Only bytes of headers are looked at. A file in no form that is known here is left to drgn.
"""

import contextlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ...errors import PageInspectError
from ...model.ranges import Range, count
from ...units import counted, number
from . import copies, elf, flattened, foreign, kdump

NO_VMCOREINFO_HINT = (
    "dump a QEMU guest with -device vmcoreinfo and the module qemu_fw_cfg loaded in it, or give "
    "the note (--vmcoreinfo FILE)"
)
"""What to do about a dump without VMCOREINFO."""

_AGAIN = "copy it again, or take the dump again"
_NOTES = 8 << 20
"""Bytes from the start of a flattened core in which its notes are looked for."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What drgn is to open: a path, or a descriptor that is drgn's from then on."""

    source: Path | int
    notes: tuple[str, ...] = ()
    """What was found and done about the form, as sentences for people."""
    is_whole: bool = True
    """Whether the file has all that it should have."""
    absent: tuple[Range, ...] = ()
    """pfns that a kdump should have and has not: libkdumpfile may read anything for them."""
    headers: elf.Headers | None = None
    """Of a plain ELF core."""


def prepare(path: Path) -> Opened:
    """Return what to open in place of a core, usually itself. Raises PageInspectError."""
    if not path.is_file():
        return Opened(path)
    try:
        with path.open("rb") as file:
            return _prepare(path, file)
    except (elf.ElfError, kdump.KdumpError, flattened.FlattenedError) as error:
        raise PageInspectError(f"{path} {error}", _AGAIN) from None
    except OSError as error:
        raise PageInspectError(
            f"cannot read {path}: {error.strerror}", "copy the core to a file first"
        ) from None


def _prepare(path: Path, file: IO[bytes]) -> Opened:
    """As prepare(); raises ElfError, KdumpError and FlattenedError too."""
    start = file.read(foreign.ENOUGH)
    size = file.seek(0, os.SEEK_END)
    is_flat = start.startswith(flattened.SIGNATURE)
    if is_flat:
        file.seek(0)
        start = flattened.start(file, foreign.ENOUGH)
        _check_notes(file)
    known = foreign.explain(start)
    if known is not None:
        raise PageInspectError(f"{path} {known[0]}", known[1])
    header = kdump.parse(start)
    if header is not None and header.is_part:
        raise PageInspectError(
            f"{path} is one part of a split dump",
            "join all of them first: makedumpfile --reassemble PART1 PART2 … CORE",
        )
    is_complete = header is None or header.is_complete
    if is_flat and is_complete and flattened.ends(file):
        return _flat(path)
    if is_flat or not is_complete:
        return _copied(path, file, header, is_flat=is_flat)
    return _examined(path, file, header, kdump.present([(0, size)]))


def _check_notes(file: IO[bytes]) -> None:
    """Raise ElfError for a flattened ELF core whose notes are too long, as far as they show."""
    file.seek(0)
    with contextlib.suppress(elf.CutOffError):
        elf.read_headers(io.BytesIO(flattened.start(file, _NOTES)))


def _flat(path: Path) -> Opened:
    note = f"{path} is flattened; makedumpfile -R CORE < {path} makes a core that opens faster"
    return Opened(path, (note,))


def _examined(
    path: Path,
    file: IO[bytes],
    header: kdump.Header | None,
    there: kdump.Present,
    *,
    is_whole: bool = True,
) -> Opened:
    """Return a core that is opened as it is, with what it lacks.

    `there` is what the file has, and `is_whole` whether that may be all of it.
    """
    size = file.seek(0, os.SEEK_END)
    if header is not None:
        if is_whole and header.is_whole and not kdump.is_cut_off(file, header, size):
            return Opened(path)
        absent = tuple(kdump.absent(file, header, there))
        return Opened(path, (_lacks(path, header, absent),), is_whole=False, absent=absent)
    headers = elf.read_headers(file)
    if headers is None or (is_whole and headers.is_whole and headers.end <= size):
        return Opened(path, headers=headers)
    why = f"is cut off: it has {number(size)} of {number(headers.end)} bytes"
    if headers.end <= size:
        why = "is incomplete (makedumpfile ran out of room when it wrote it)"
    note = f"{path} {why}, and what it lacks of memory cannot be read"
    return Opened(path, (note,), is_whole=False, headers=headers)


def _lacks(path: Path, header: kdump.Header, absent: Sequence[Range]) -> str:
    """Return the note on a kdump that lacks pages."""
    why = "is cut off"
    if not header.is_whole:
        why = "is incomplete (makedumpfile ran out of room when it wrote it)"
    if not absent:
        return f"{path} {why}, behind the last page of memory"
    return f"{path} {why}: it lacks the contents of {counted(count(absent), 'page')} of memory"


def _copied(path: Path, file: IO[bytes], header: kdump.Header | None, *, is_flat: bool) -> Opened:
    """Return a copy of a core that drgn does not take as it is, put right.

    That is one whose header lacks what drgn asks for, or a flattened one that is cut off.
    Raises PageInspectError, FlattenedError, ElfError and KdumpError.
    """
    completed = header is not None and not header.is_complete
    if header is not None and completed and header.vmcoreinfo is None:
        raise PageInspectError(f"{path} lacks VMCOREINFO", NO_VMCOREINFO_HINT)
    what = "has an incomplete header" if completed else "is flattened and not whole"
    with copies.copied(path, file, what, is_flat=is_flat) as made:
        if made.is_whole and not completed:
            # Something follows its end.
            return _flat(path)
        if header is None:
            made.cut_at_hole()
        elif completed:
            kdump.complete(made.file, header)
        made.file.flush()
        opened = _examined(
            path, made.file, header, kdump.present(made.written), is_whole=made.is_whole
        )
        note = f"what is read of {path} is a temporary copy, put together as far as it goes"
        if completed:
            note = (
                f"the header of {path} lacks the name of the system, as QEMU writes it; what is "
                "read is a temporary copy with the header completed"
            )
        return replace(opened, source=os.dup(made.file.fileno()), notes=(*opened.notes, note))
