# SPDX-License-Identifier: GPL-2.0-only
"""Reads the lines of a log, with limits on the length of a line and of the log."""

from collections.abc import Iterator
from typing import BinaryIO

from ...errors import PageInspectError
from ...units import size

LONGEST_LINE = 4096
"""Bytes of a line that are read; the kernel's own lines have at most 1 KiB or 2 KiB."""
MOST_BYTES = 64 << 20


def log_lines(stream: BinaryIO) -> Iterator[str]:
    """Yield the lines of a log, cut at LONGEST_LINE; raises PageInspectError after MOST_BYTES."""
    left = MOST_BYTES
    while piece := stream.readline(LONGEST_LINE):
        # A log may contain bytes that are not UTF-8.
        yield piece.decode("utf-8", "replace")
        left -= len(piece)
        while piece and not piece.endswith(b"\n"):
            piece = stream.readline(LONGEST_LINE)
            left -= len(piece)
            if left < 0:
                break
        if left < 0:
            raise PageInspectError(
                f"more than {size(MOST_BYTES)} of text",
                "cut the reports out first, for example: grep -A 40 'Bad page state' LOG",
            )
