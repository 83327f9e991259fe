# SPDX-License-Identifier: GPL-2.0-only
"""Temporary copies of cores that drgn refuses to open. The core itself is never changed."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from ...errors import PageInspectError
from ...host.progress import paced
from ...model.ranges import Range, merge
from . import flattened


@dataclass(frozen=True, slots=True)
class Copy:
    """A temporary copy of a core."""

    file: IO[bytes]
    written: list[Range]
    """(start, end) bytes of the copy that came from the core."""
    is_whole: bool
    """Whether the core had all bytes."""

    def cut_at_hole(self) -> None:
        """Truncate the copy at the first byte that the core lacks."""
        pieces = merge(self.written)
        self.file.truncate(pieces[0][1] if pieces and pieces[0][0] == 0 else 0)


@contextlib.contextmanager
def temporary_copy(path: Path, file: IO[bytes], what: str, *, is_flat: bool) -> Iterator[Copy]:
    """Give a copy of a core; with `is_flat` it is rearranged, up to where the file is cut off.

    `what` is the reason for the copy, used in errors. Raises FlattenedError, and PageInspectError
    when there is no room.
    """
    where = tempfile.gettempdir()
    size = path.stat().st_size
    advice = "set TMPDIR to a folder with room, or dump in another form (ELF)"
    if shutil.disk_usage(where).free < size:
        raise PageInspectError(
            f"{path} {what}, and {where} has no room for a complete copy", advice
        )
    try:
        with tempfile.TemporaryFile() as copy:
            file.seek(0)
            written: list[Range] = []
            is_whole = True
            if is_flat:
                try:
                    flattened.rearrange(file, copy, written)
                except flattened.CutOffFlattenedError:
                    is_whole = False
            else:
                for data in paced(iter(partial(file.read, 1 << 20), b"")):
                    copy.write(data)
                written.append((0, size))
            yield Copy(copy, written, is_whole)
    except OSError as error:
        raise PageInspectError(f"cannot copy {path} to {where}: {error.strerror}", advice) from None
