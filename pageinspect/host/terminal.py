"""Lines on standard error, with control characters escaped: the one way for text with names."""

import contextlib
import sys

from ..units import printable


def say(text: str) -> None:
    """Write a line with the name of the program; control characters are escaped."""
    write_line(f"pageinspect: {text}")


def write_line(text: str) -> None:
    """Write a line; control characters are escaped."""
    write(printable(text) + "\n")


def write(text: str) -> None:
    """Write text that needs no escaping. Errors of standard error are ignored."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()
