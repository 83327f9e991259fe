# SPDX-License-Identifier: GPL-2.0-only
"""Writes to standard error. Text with names from a kernel or file goes through say()."""

import contextlib
import sys

from ..units import printable


def say(text: str) -> None:
    """Write a line that starts with "pageinspect: "; control characters are escaped."""
    write_line(f"pageinspect: {text}")


def write_line(text: str) -> None:
    """Write a line; control characters are escaped."""
    write(printable(text) + "\n")


def write(text: str) -> None:
    """Write text that needs no escaping. I/O errors are ignored."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()
