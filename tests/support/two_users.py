# SPDX-License-Identifier: GPL-2.0-only
"""What another user would do, for tests that run as root."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

OTHER = 65534
takes_root = pytest.mark.skipif(os.geteuid() != 0, reason="being two users takes root")


def as_other(task: Callable[[], object]) -> None:
    """Run a task as the other user, in a process of its own."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(OTHER, OTHER, OTHER)
            os.setresuid(OTHER, OTHER, OTHER)
            task()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0, "the other user cannot do that"


def plant(link: Path, target: Path) -> None:
    """Make a link as the other user."""
    as_other(lambda: link.symlink_to(target))
    assert link.lstat().st_uid == OTHER
