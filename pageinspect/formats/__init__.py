"""Forms of kernel cores: what is put right, or refused with advice, before drgn opens one.

Only bytes of headers are looked at. A file in no form that is known here is left to drgn.
"""

import io
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from ..errors import PageInspectError
from ..guard import paced
from . import flattened, kdump, notes

NO_VMCOREINFO_HINT = (
    "dump a QEMU guest with -device vmcoreinfo and the module qemu_fw_cfg loaded in it, or give "
    "the note (--vmcoreinfo FILE)"
)
"""What to do about a dump without VMCOREINFO."""

_NOTES = 1 << 20
"""Bytes from the start of a flattened dump in which the headers of its notes are looked for."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What drgn is to open: a path, or a descriptor that is drgn's from then on."""

    source: Path | int
    notes: tuple[str, ...] = ()
    """What was found and done about the form, as sentences for people."""


def prepare(path: Path) -> Opened:
    """Return what to open in place of a core, usually itself. Raises PageInspectError."""
    if not path.is_file():
        return Opened(path)
    with path.open("rb") as file:
        is_flat = file.read(len(flattened.SIGNATURE)) == flattened.SIGNATURE
        file.seek(0)
        start = flattened.start(file, kdump.ENOUGH) if is_flat else file.read(kdump.ENOUGH)
        file.seek(0)
        problem = notes.too_long(io.BytesIO(flattened.start(file, _NOTES)) if is_flat else file)
        if problem is not None:
            raise PageInspectError(
                f"{path} is not a core that can be read: its headers claim {problem}",
                "the core is damaged, or made to do harm: take the dump again",
            )
        header = kdump.parse(start)
        if header is not None and header.is_part:
            raise PageInspectError(
                f"{path} is one part of a split dump",
                "join all of them first: makedumpfile --reassemble PART1 PART2 … CORE",
            )
        if header is not None and not header.is_complete:
            return _put_right(path, file, header, is_flat=is_flat)
    if is_flat:
        note = f"{path} is flattened; makedumpfile -R CORE < {path} makes a core that opens faster"
        return Opened(path, (note,))
    return Opened(path)


def _put_right(path: Path, file: IO[bytes], header: kdump.Header, *, is_flat: bool) -> Opened:
    """Copy a core whose header lacks what drgn asks for to a file without a name, and complete it.

    drgn takes no header but the one in the file, and the file is not ours to change.
    """
    # Not at the top: few cores need it.
    import shutil
    import tempfile

    if header.vmcoreinfo is None:
        raise PageInspectError(f"{path} lacks VMCOREINFO", NO_VMCOREINFO_HINT)
    where = tempfile.gettempdir()
    size = path.stat().st_size
    if shutil.disk_usage(where).free < size:
        raise PageInspectError(
            f"{path} has an incomplete header, and {where} no room for a copy that is complete",
            "set TMPDIR to a folder with room, or dump in another form (ELF)",
        )
    try:
        with tempfile.TemporaryFile() as copy:
            file.seek(0)
            if is_flat:
                flattened.rearrange(file, copy)
            else:
                for data in paced(iter(partial(file.read, 1 << 20), b"")):
                    copy.write(data)
            kdump.complete(copy, header)
            copy.flush()
            descriptor = os.dup(copy.fileno())
    except flattened.FlattenedError as error:
        raise PageInspectError(
            f"{path}: {error}", "take the dump again, or copy it again"
        ) from None
    except OSError as error:
        raise PageInspectError(
            f"cannot copy {path} to {where}: {error.strerror}",
            "set TMPDIR to a folder with room, or dump in another form (ELF)",
        ) from None
    note = (
        f"the header of {path} lacks the name of the system, as QEMU writes it; what is read is a "
        "temporary copy with the header completed"
    )
    return Opened(descriptor, (note,))
