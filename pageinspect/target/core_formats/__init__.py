# SPDX-License-Identifier: GPL-2.0-only
"""Checks the format of a core before drgn opens it; repairs it in a copy, or refuses it.

Only headers are examined. drgn gets a file of an unknown format as it is.
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
from . import copies, elf, flattened, foreign, kdump, split

NO_VMCOREINFO_HINT = (
    "dump a QEMU guest with -device vmcoreinfo and the module qemu_fw_cfg loaded in it, or give "
    "the note (--vmcoreinfo FILE)"
)
"""What to do about a dump without VMCOREINFO."""

_AGAIN = "copy it again, or take the dump again"
_NOTES = 8 << 20
"""Bytes from the start of a flattened core that are searched for its notes."""


@dataclass(frozen=True, slots=True)
class PreparedCore:
    """A core ready for drgn to open."""

    source: Path | int
    """A path, or a descriptor that drgn takes over and closes."""
    notes: tuple[str, ...] = ()
    """Sentences for the user: problems of the format, and how they were handled."""
    is_whole: bool = True
    """Whether the file is complete."""
    absent: tuple[Range, ...] = ()
    """pfns that a kdump should contain but does not: libkdumpfile may return any data for them."""
    headers: elf.Headers | None = None
    """The ELF headers of a plain ELF core; None for other formats."""


def prepare(path: Path) -> PreparedCore:
    """Return what drgn should open for a core: usually the file itself. Raises PageInspectError."""
    if not path.is_file():
        return PreparedCore(path)
    try:
        with path.open("rb") as file:
            return _prepare(path, file)
    except (elf.ElfError, kdump.KdumpError, flattened.FlattenedError) as error:
        raise PageInspectError(f"{path} {error}", _AGAIN) from None
    except OSError as error:
        raise PageInspectError(
            f"cannot read {path}: {error.strerror}", "copy the core to a file first"
        ) from None


def _prepare(path: Path, file: IO[bytes]) -> PreparedCore:
    """Implement prepare(); also raises ElfError, KdumpError and FlattenedError."""
    start = file.read(foreign.HEADER_BYTES)
    size = file.seek(0, os.SEEK_END)
    is_flat = start.startswith(flattened.SIGNATURE)
    if is_flat:
        file.seek(0)
        start = flattened.start(file, foreign.HEADER_BYTES)
        _check_notes(file)
    known = foreign.explain(start)
    if known is not None:
        raise PageInspectError(f"{path} {known[0]}", known[1])
    header = kdump.parse(start)
    split.check_joined(path, header)
    is_complete = header is None or header.is_complete
    if is_flat and is_complete and flattened.ends(file):
        return _prepare_flattened(path)
    if is_flat or not is_complete:
        return _prepare_copy(path, file, header, is_flat=is_flat)
    return _prepare_in_place(path, file, header, kdump.present_bytes([(0, size)]))


def _check_notes(file: IO[bytes]) -> None:
    """Raise ElfError for a flattened ELF core with too long notes, if its start contains them."""
    file.seek(0)
    with contextlib.suppress(elf.CutOffElfError):
        elf.read_headers(io.BytesIO(flattened.start(file, _NOTES)))


def _prepare_flattened(path: Path) -> PreparedCore:
    note = f"{path} is flattened; makedumpfile -R CORE < {path} makes a core that opens faster"
    return PreparedCore(path, (note,))


def _prepare_in_place(
    path: Path,
    file: IO[bytes],
    header: kdump.Header | None,
    there: kdump.PresentBytes,
    *,
    is_whole: bool = True,
) -> PreparedCore:
    """Return a core that is opened unchanged, with a list of what is missing from it.

    `there` are the byte ranges present in the file. `is_whole` is False where the file is already
    known to be incomplete.
    """
    size = file.seek(0, os.SEEK_END)
    if header is not None:
        if is_whole and header.is_whole and not kdump.is_cut_off(file, header, size):
            return PreparedCore(path)
        absent = tuple(kdump.absent(file, header, there))
        return PreparedCore(
            path, (_missing_pages_note(path, header, absent),), is_whole=False, absent=absent
        )
    headers = elf.read_headers(file)
    if headers is None or (is_whole and headers.is_whole and headers.end <= size):
        return PreparedCore(path, headers=headers)
    why = f"is cut off: it has {number(size)} of {number(headers.end)} bytes"
    if headers.end <= size:
        why = "is incomplete (makedumpfile ran out of room when it wrote it)"
    note = f"{path} {why}; the missing memory cannot be read"
    return PreparedCore(path, (note,), is_whole=False, headers=headers)


def _missing_pages_note(path: Path, header: kdump.Header, absent: Sequence[Range]) -> str:
    """Return the note about a kdump with missing pages."""
    why = "is cut off"
    if not header.is_whole:
        why = "is incomplete (makedumpfile ran out of room when it wrote it)"
    if not absent:
        return f"{path} {why}, after the last page of memory"
    return f"{path} {why}: the contents of {counted(count(absent), 'page')} of memory are missing"


def _prepare_copy(
    path: Path, file: IO[bytes], header: kdump.Header | None, *, is_flat: bool
) -> PreparedCore:
    """Return a repaired copy of a core that drgn refuses to open.

    Such a core has an incomplete header, or is flattened and cut off. Raises PageInspectError,
    FlattenedError, ElfError and KdumpError.
    """
    completed = header is not None and not header.is_complete
    if header is not None and completed and header.vmcoreinfo is None:
        raise PageInspectError(f"{path} lacks VMCOREINFO", NO_VMCOREINFO_HINT)
    what = "has an incomplete header" if completed else "is flattened and incomplete"
    with copies.temporary_copy(path, file, what, is_flat=is_flat) as made:
        if made.is_whole and not completed:
            # The file is complete, with further bytes after the end mark.
            return _prepare_flattened(path)
        if header is None:
            made.cut_at_hole()
        elif completed:
            kdump.complete_header(made.file, header)
        made.file.flush()
        opened = _prepare_in_place(
            path, made.file, header, kdump.present_bytes(made.written), is_whole=made.is_whole
        )
        note = f"{path} is read from a temporary copy of the part that could be reassembled"
        if completed:
            note = (
                f"the header of {path} lacks the name of the system, as QEMU writes it; a "
                "temporary copy with a completed header is read instead"
            )
        return replace(opened, source=os.dup(made.file.fileno()), notes=(*opened.notes, note))
