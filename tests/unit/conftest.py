# SPDX-License-Identifier: GPL-2.0-only
"""Of unit tests: none starts a process; those that do are in tests/process/."""

import multiprocessing.process
import os
import subprocess
from collections.abc import Iterator
from typing import NoReturn

import pytest

STARTS = (
    (os, "fork"),
    (os, "forkpty"),
    (os, "posix_spawn"),
    (os, "posix_spawnp"),
    (os, "system"),
    (subprocess.Popen, "__init__"),
    (multiprocessing.process.BaseProcess, "start"),
)


def _refuse(*_: object, **__: object) -> NoReturn:
    pytest.fail("a unit test starts no process: tests/process/ is for those that do")


@pytest.fixture(scope="module", autouse=True)
def _no_process() -> Iterator[None]:
    """Fail a test that starts a process, and one of whose fixtures does."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in STARTS:
            patch.setattr(owner, name, _refuse)
        yield
