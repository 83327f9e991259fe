# SPDX-License-Identifier: GPL-2.0-only
"""Recognises one part of a split dump (makedumpfile --split), and finds the other parts."""

import itertools
import shlex
from pathlib import Path

from ...errors import PageInspectError
from . import kdump

_MOST_FILES = 5000
"""Files of a folder that are examined for other parts."""


def check_joined(path: Path, header: kdump.Header | None) -> None:
    """Raise PageInspectError with the command that joins the parts, if this is one of them."""
    if header is None or header.part is None:
        return
    found = _parts(path, header)
    neighbours = itertools.pairwise(part for _, part in found)
    is_all = found[0][1][0] == 0 and all(left[1] == right[0] for left, right in neighbours)
    names = shlex.join(str(name) for name, _ in found)
    more = "" if is_all and len(found) > 1 else " …"
    raise PageInspectError(
        f"{path} is one part of a split dump",
        f"join all of them first: makedumpfile --reassemble {names}{more} CORE",
    )


def _parts(path: Path, header: kdump.Header) -> list[tuple[Path, tuple[int, int]]]:
    """Return the parts of the same dump in the folder of `path`, with their pfns, in order."""
    found = {path: header.part or (0, 0)}
    for other in itertools.islice(path.parent.iterdir(), _MOST_FILES):
        try:
            # To open a pipe would wait for its writer.
            if not other.is_file():
                continue
            with other.open("rb") as file:
                start = file.read(kdump.HEADER_BYTES)
            parsed = kdump.parse(start)
        except (OSError, kdump.KdumpError):
            continue
        if parsed is None or parsed.part is None or other == path:
            continue
        if (parsed.names, parsed.bitmap) == (header.names, header.bitmap):
            found[other] = parsed.part
    return sorted(found.items(), key=lambda item: (item[1], str(item[0])))
