# SPDX-License-Identifier: GPL-2.0-only
"""Recognises one part of a split dump (makedumpfile --split), and finds the other parts."""

import contextlib
import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ...errors import PageInspectError
from ...model.ranges import Range, merge
from . import kdump

_MOST_FILES = 5000
"""Files of a folder that are examined for other parts."""
_MOST_NAMED = 4

_Identity = tuple[dict[str, bytes], tuple[int, int], int, bytes]


def check_joined(path: Path, header: kdump.Header | None) -> None:
    """Raise PageInspectError with the command that joins the parts, if this is one of them."""
    if header is None or header.part is None:
        return
    found = _parts(path, header.part)
    missing = [f"{start:#x}-{end:#x}" for start, end in _uncovered([*found], header.pfns)]
    advice = "join all of them first"
    if missing:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        advice = (
            f"no part in this folder has the pfns {', '.join(missing[:_MOST_NAMED])}{more}; find "
            "it, and join all of them"
        )
    names = shlex.join(str(name) for name in found.values())
    raise PageInspectError(
        f"{path} is one part of a split dump",
        f"{advice}: makedumpfile --reassemble {names}{' …' if missing else ''} CORE",
    )


def _uncovered(parts: list[Range], end: int) -> Iterator[Range]:
    """Yield the pfns below `end` that are in none of the parts."""
    at = 0
    for start, stop in [*merge(parts), (end, end)]:
        if at < min(start, end):
            yield at, min(start, end)
        at = max(at, stop)


def _parts(path: Path, part: Range) -> dict[Range, Path]:
    """Return the parts of the same dump in the folder of `path` by their pfns, in order.

    Of several copies of a part, the first one is returned; `path` for its own.
    """
    found, others = {part: path}, list[Path]()
    wanted = _read(path)
    with contextlib.suppress(OSError):
        others = sorted(itertools.islice(path.parent.iterdir(), _MOST_FILES))
    for other in others:
        read = _read(other)
        if wanted is not None and read is not None and read[1] == wanted[1]:
            found.setdefault(read[0], other)
    return dict(sorted(found.items()))


def _read(path: Path) -> tuple[Range, _Identity] | None:
    """Return the pfns of a part, and what all parts of one dump have in common."""
    try:
        # To open a pipe would wait for its writer.
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return _read_open(file)
    except (OSError, kdump.KdumpError):
        return None


def _read_open(file: IO[bytes]) -> tuple[Range, _Identity] | None:
    header = kdump.parse(file.read(kdump.HEADER_BYTES))
    if header is None or header.part is None:
        return None
    offset, size = header.vmcoreinfo or (0, 0)
    file.seek(offset)
    return header.part, (header.names, header.bitmap, header.pfns, file.read(size))
