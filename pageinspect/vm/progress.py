# SPDX-License-Identifier: GPL-2.0-only
"""Progress of long operations: a callback, so that this package does not print."""

from collections.abc import Callable

Progress = Callable[[str], None]
"""Called with one sentence at the start of each step."""


def silent(_step: str) -> None:
    """Report nothing; the default for callers of the library."""
