"""Copies of cores that drgn does not take as they are, as files without a name.

The core itself is not ours to change.
"""

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
    """A copy, and which of its bytes the core had: all of them with `is_whole`."""

    file: IO[bytes]
    written: list[Range]
    is_whole: bool

    def cut_at_hole(self) -> None:
        """Cut it where the core first lacks something."""
        pieces = merge(self.written)
        self.file.truncate(pieces[0][1] if pieces and pieces[0][0] == 0 else 0)


@contextlib.contextmanager
def copied(path: Path, file: IO[bytes], what: str, *, is_flat: bool) -> Iterator[Copy]:
    """Give a copy of a core, out of its flattened form with `is_flat`, as far as that goes.

    `what` says why there must be one. Raises FlattenedError, and PageInspectError without room.
    """
    where = tempfile.gettempdir()
    size = path.stat().st_size
    advice = "set TMPDIR to a folder with room, or dump in another form (ELF)"
    if shutil.disk_usage(where).free < size:
        raise PageInspectError(
            f"{path} {what}, and {where} no room for a copy that is complete", advice
        )
    try:
        with tempfile.TemporaryFile() as copy:
            file.seek(0)
            written: list[Range] = []
            is_whole = True
            if is_flat:
                try:
                    flattened.rearrange(file, copy, written)
                except flattened.CutOffError:
                    is_whole = False
            else:
                for data in paced(iter(partial(file.read, 1 << 20), b"")):
                    copy.write(data)
                written.append((0, size))
            yield Copy(copy, written, is_whole)
    except OSError as error:
        raise PageInspectError(f"cannot copy {path} to {where}: {error.strerror}", advice) from None
