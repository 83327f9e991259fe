# SPDX-License-Identifier: GPL-2.0-only
"""What goes wrong with guests.

PageInspectError
├── BuildError         a kernel or the guest root cannot be built
└── GuestLostError     the guest is gone: panic, QEMU ended, never booted, or ran out of time
    └── GuestTimeoutError
        └── GuestSilentError
"""

from pathlib import Path

from ..errors import Exit, PageInspectError


class BuildError(PageInspectError):
    """A kernel, an initrd or the guest root cannot be built."""


class GuestLostError(PageInspectError):
    """The guest is gone, with everything that ran in it.

    `console` has the last lines of its console; `log` is the file with all of it.
    """

    exit_code = Exit.GUEST_LOST

    def __init__(self, message: str, *, console: tuple[str, ...], log: Path) -> None:
        super().__init__(message, f"its whole console is in {log}")
        self.console = console
        self.log = log

    def __str__(self) -> str:
        return "\n".join((self.message, *(f"| {line}" for line in self.console), self.hint))


class GuestTimeoutError(GuestLostError):
    """The guest, or a command in it, took longer than it was given."""


class GuestSilentError(GuestTimeoutError):
    """The guest wrote nothing, on its console or its disks, for longer than it should."""
