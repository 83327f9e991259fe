# SPDX-License-Identifier: GPL-2.0-only
"""Builds of things of the cache, which also run in processes of their own."""

import os
import time
from pathlib import Path

from pageinspect.vm import cache


def slow_build(target: Path, log: Path) -> None:
    """Build, saying so; in a process of its own."""

    def build(work: Path) -> Path:
        with log.open("a") as lines:
            lines.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        (work / "result").write_text(str(os.getpid()))
        return work / "result"

    cache.build_once(target, build)
    assert target.read_text()


def build_until(target: Path, log: Path, done: Path) -> None:
    """Build until there is a file; in a process of its own."""

    def build(work: Path) -> Path:
        log.touch()
        end = time.monotonic() + 60
        while not done.exists() and time.monotonic() < end:
            time.sleep(0.01)
        (work / "result").touch()
        return work / "result"

    cache.build_once(target, build)
