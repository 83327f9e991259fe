# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots that commands take as arguments: of a dataset, or taken now of a kernel."""

import argparse
import re
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PageInspectError, UsageError
from . import isolation
from .options import open_target
from .walking import fold_pieces

if TYPE_CHECKING:
    from ..dataset.files import Entry
    from ..model.snapshot import Snapshot

LIVE = "live"
"""The name of this kernel as an argument."""
_QEMU = "qemu:"
_FORM = "write FILE, DATASET[@TIME|@-N][#HOST], qemu:SOCKET or live"
_CHOICE = re.compile(r"(?P<path>[^#]+?)(?:@(?P<time>-[0-9]{1,9}|[0-9TZ]+))?(?:#(?P<host>.+))?")


def snapshot_of(args: argparse.Namespace, text: str, tables: Collection[str]) -> "Snapshot":
    """Return the snapshot that a text names, with these tables. Raises PageInspectError.

    The text is a core, `live`, qemu:SOCKET, or DATASET[@TIME|@-N][#HOST]: the last snapshot, that
    of a time, or the last but N - 1. A path that exists is taken as it is.
    """
    if text == LIVE and not Path(text).exists():
        return _take(args, None, None, tables)
    if text.startswith(_QEMU) and not Path(text).exists():
        return _take(args, None, Path(text.removeprefix(_QEMU)), tables)
    path, time, host = Path(text), None, None
    if not text or not path.exists():
        match = _CHOICE.fullmatch(text)
        if match is None or not Path(match["path"]).is_dir():
            raise PageInspectError(f"{text}: no such file, dataset or kernel", _FORM)
        path, time, host = Path(match["path"]), match["time"], match["host"]
    if path.is_dir():
        return _saved(path, time, host, tables)
    return _take(args, path, None, tables)


def _take(
    args: argparse.Namespace, core: Path | None, qemu: Path | None, tables: Collection[str]
) -> "Snapshot":
    from ..inspector.inspector import inspect
    from ..inspector.snapshot import host_of, take

    options = dict.fromkeys(("symbols", "btf", "kallsyms", "vmcoreinfo", "symbols_from"))
    one = argparse.Namespace(
        **{**vars(args), **options, "core": core, "qemu": qemu, "pause": False}
    )

    def taken() -> "Snapshot":
        inspector = inspect(open_target(one))
        host = host_of(inspector)
        return take(inspector, host=host, fold=partial(fold_pieces, one), tables=tables)

    source = core or qemu
    return taken() if source is None else isolation.explain_errors(taken, source)


def _saved(path: Path, time: str | None, host: str | None, tables: Collection[str]) -> "Snapshot":
    from ..dataset.read import read_snapshot, snapshots

    entry = _choose(snapshots(path), path, time, host)
    return read_snapshot(path, entry.host, entry.time, tables)


def _choose(entries: "list[Entry]", path: Path, time: str | None, host: str | None) -> "Entry":
    hosts = sorted({entry.host for entry in entries})
    if host is None and len(hosts) > 1:
        raise UsageError(
            f"{path} has snapshots of {len(hosts)} hosts",
            f"name one: {path}#{hosts[0]}",
        )
    found = [entry for entry in entries if host in (None, entry.host)]
    if time is not None and not time.startswith("-"):
        found = [entry for entry in found if entry.time == time]
        time = None
    place = int(time or -1)
    if not -len(found) <= place < 0:
        raise PageInspectError(
            f"{path} has no such snapshot",
            f"it has {len(entries)}, of {', '.join(hosts) or 'no host'}",
        )
    return found[place]
