"""Errors that a user can meet, and the exit codes of the command line.

PageInspectError          exit 1: something is missing, unreadable or impossible
└── UsageError            exit 2: the command line itself is wrong

Both carry a one-line message and a hint that says what to do next; `cli.main` is the one place
that prints them. Anything else that escapes is a defect.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit status of every command except `vm run`, which passes on the status of its command."""

    COMPLETE = 0
    ERROR = 1
    USAGE = 2
    INCOMPLETE = 3
    FINDING = 4
    GUEST_LOST = 125
    INTERRUPTED = 130


LACKS_HINT = (
    "the core may be cut off (compare its size with the original), or lack pages of the kernel: "
    "a makedumpfile that does not know a kernel leaves some out at -d 31"
)
"""What to think of when memory of the kernel itself is missing in a core."""


class PageInspectError(Exception):
    """An error with a one-line message and a hint of what to do next."""

    exit_code = Exit.ERROR

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> "tuple[type[PageInspectError], tuple[str, str]]":
        return type(self), (self.message, self.hint)


class UsageError(PageInspectError):
    """The command line is wrong: a bad option value, pfn range or type name."""

    exit_code = Exit.USAGE


def system_error(error: OSError) -> PageInspectError:
    """Return the error for a system call that failed where nobody expected it."""
    what = f"{error.filename}: " if error.filename else "the system refuses: "
    return PageInspectError(
        f"{what}{error.strerror or error}",
        "pageinspect doctor shows what this machine offers; if all of that is right, please report "
        "this line",
    )
