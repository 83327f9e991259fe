# SPDX-License-Identifier: GPL-2.0-only
"""What a target of the command line means: a core, a snapshot, a guest, or this kernel.

It is written as FILE, DATASET[@TIME|@-N][#HOST], qemu:SOCKET or live.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_GUEST = "qemu:"
_LIVE = "live"


@dataclass(frozen=True, slots=True)
class SnapshotName:
    """A snapshot of a dataset, as it was asked for."""

    dataset: Path
    time: str | None = None
    """The beginning of a time, or -1 for the newest, -2 for the one before; None is the newest."""
    host: str | None = None


@dataclass(frozen=True, slots=True)
class TargetName:
    """A target: one of these, or none for this kernel."""

    core: Path | None = None
    qemu: Path | None = None
    snapshot: SnapshotName | None = None


def target_of(text: str) -> TargetName:
    """Return what a target of the command line means.

    A file or folder that exists with all of the text as its name is meant before any other form.
    """
    from ..target.kcore import is_kcore

    path = Path(text)
    if _exists(path):
        if _is_folder(path):
            return TargetName(snapshot=SnapshotName(path))
        return TargetName() if is_kcore(path) else TargetName(core=path)
    if text == _LIVE:
        return TargetName()
    if text.startswith(_GUEST):
        return TargetName(qemu=Path(text.removeprefix(_GUEST)))
    return next(
        (TargetName(snapshot=name) for name in _readings(text) if _is_folder(name.dataset)),
        TargetName(core=path),
    )


def _readings(text: str) -> Iterator[SnapshotName]:
    """Yield the ways to read a text with @ or #, those with the longest name of a folder first."""
    hosts = [(text[:i], text[i + 1 :]) for i, letter in enumerate(text) if letter == "#"]
    for rest, host in [(text, None), *reversed(hosts)]:
        if rest and host is not None:
            yield SnapshotName(Path(rest), None, host)
        dataset, _, time = rest.rpartition("@")
        if dataset and "#" not in time:
            yield SnapshotName(Path(dataset), time, host)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


class TargetAction(argparse.Action):
    """Sets `core`, `qemu` and `snapshot` to what the value of an option means; others are None."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        """Set the attributes."""
        found = target_of(values)
        namespace.core, namespace.qemu = found.core, found.qemu
        namespace.snapshot = found.snapshot


def source_of(args: argparse.Namespace) -> Path | None:
    """Return the file, folder or socket that a command reads; None for this kernel."""
    if "before" in args:
        return _of_two(args.before, args.after)
    snapshot: SnapshotName | None = getattr(args, "snapshot", None)
    named = getattr(args, "core", None) or getattr(args, "qemu", None)
    return named or (snapshot.dataset if snapshot else None)


def _of_two(*texts: str) -> Path | None:
    """Return what to call two targets in messages; None if both are this kernel."""
    read = [text for text in texts if target_of(text) != TargetName()]
    return Path(" and ".join(read)) if read else None
