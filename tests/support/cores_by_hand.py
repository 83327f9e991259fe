# SPDX-License-Identifier: GPL-2.0-only
"""Files that new processes of pageinspect take for cores of the kernel made by hand.

A process that snapshot --dask starts cannot be patched from a test. So it gets a module
sitecustomize, which Python imports first: in the processes that read cores, it makes opening a file
give the kernel of blocked_pages.py. The file has the name of the machine and the time; what has
other text is broken, and what a file .gate is beside is read only when that has been removed.
"""

import os
from pathlib import Path

_HERE = Path(__file__).parent
_PACKAGE = _HERE.parent.parent
_SITE = f"""
import sys
if any("begin()" in word for word in sys.orig_argv):
    sys.path.append({str(_HERE)!r})
    import cores_by_hand
    cores_by_hand.install()
"""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a command whose workers read such files."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SITE)
    return {**os.environ, "PYTHONPATH": f"{site}:{_PACKAGE}"}


def core(folder: Path, host: str, time: int) -> Path:
    path = folder / f"core.{host}"
    path.write_text(f"by hand {host} {time}")
    return path


def install() -> None:
    """Let the command snapshot of this process open such files."""
    import argparse
    import time

    import pytest
    from blocked_pages import BlockedPages

    from pageinspect.cli import take_snapshot
    from pageinspect.errors import PageInspectError
    from pageinspect.inspector import inspector
    from pageinspect.inspector import snapshot as module

    patch = pytest.MonkeyPatch()
    kernel = BlockedPages()
    kernel.install(patch)
    words: list[str] = []

    def open_target(args: argparse.Namespace) -> None:
        gate = args.core.with_name(f"{args.core.name}.gate")
        while gate.exists():
            time.sleep(0.02)
        words[:] = args.core.read_text().split() if args.core.exists() else []
        if words[:2] != ["by", "hand"]:
            raise PageInspectError(f"{args.core} is not a core", "name a core")

    patch.setattr(take_snapshot, "open_target", open_target)
    patch.setattr(inspector, "inspect", lambda _: kernel.inspector())
    patch.setattr(module, "host_of", lambda _: words[2])
    patch.setattr(module, "time_of", lambda _: int(words[3]) * 1_000_000)
