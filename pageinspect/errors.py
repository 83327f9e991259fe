# SPDX-License-Identifier: GPL-2.0-only
"""Errors that are reported to the user, and exit codes of the command line.

PageInspectError          exit 1: something is missing, unreadable or impossible
└── UsageError            exit 2: the command line itself is wrong

Both have a one-line message, and a hint about what to do next. Only `cli.main` prints them. Any
other exception that reaches the user is a defect.
"""

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Exit(IntEnum):
    """Exit status of all commands; `vm run` and `vm dump` return that of their command, or these.

    A process that a signal ends has 128 and the number of the signal.
    """

    COMPLETE = 0
    ERROR = 1
    USAGE = 2
    INCOMPLETE = 3
    FINDING = 4
    GUEST_LOST = 125
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


MISSING_MEMORY_HINT = (
    "the core may be cut off, or lack pages of the kernel for another reason: pageinspect audit "
    "CORE says what it lacks"
)
"""Hint for cores in which memory of the kernel itself is missing."""


class PageInspectError(Exception):
    """An error with a one-line message, and a hint about what to do next."""

    exit_code = Exit.ERROR

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        # Tracebacks show notes.
        self.add_note(f"hint: {hint}")

    def __reduce__(self) -> "tuple[type[PageInspectError], tuple[str, str]]":
        return type(self), (self.message, self.hint)


class UsageError(PageInspectError):
    """The command line is wrong: a bad option value, pfn range or type name."""

    exit_code = Exit.USAGE


def system_error(error: OSError) -> PageInspectError:
    """Return the error for an unexpected failure of a system call."""
    what = f"{error.filename}: " if error.filename else "a system call failed: "
    return PageInspectError(
        f"{what}{error.strerror or error}",
        "pageinspect doctor checks this machine; if it finds no problem, please report this line",
    )


def no_such_name(what: str, name: str, known: "Sequence[str]") -> UsageError:
    """Return the error for a name that this kernel does not have, with the closest known name."""
    return UsageError(
        f"this kernel has no {what} {name!r}",
        did_you_mean(name, known, f"it has: {', '.join(known)}"),
    )


def needs_struct_pages(what: str) -> PageInspectError:
    """Return the error for what cannot be found in a snapshot."""
    return PageInspectError(
        f"{what} needs struct pages, and a snapshot has none",
        "give the core, or the running kernel, that the snapshot was taken of",
    )


_SIMILAR = 0.65
"""How similar a suggested word must be, from 0 to 1: --pfm is to --pfn, --csv is not to --use."""


def did_you_mean(word: str, known: "Iterable[str]", advice: str) -> str:
    """Return the advice, preceded by the closest known word if there is one."""
    import difflib

    near = difflib.get_close_matches(word, [*known], 1, _SIMILAR)
    return f"did you mean {near[0]}? {advice}" if near else advice
