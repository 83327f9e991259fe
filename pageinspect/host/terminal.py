"""Lines on standard error beside the report, the one way for text that may hold names."""

import contextlib
import sys

from ..units import printable


def say(text: str) -> None:
    """Write a line, with what is in it of control characters escaped."""
    write_line(f"pageinspect: {text}")


def write_line(text: str) -> None:
    """Write a line as say() does, with nothing before it."""
    write(printable(text) + "\n")


def write(text: str) -> None:
    """Write text that has nothing to escape; what standard error refuses ends no run."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()
