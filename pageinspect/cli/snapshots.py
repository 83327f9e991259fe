# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots that commands take as arguments: of a dataset, or taken now of a kernel."""

import argparse
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from . import isolation
from .options import SYMBOLS, open_target
from .targets import TargetName, target_of
from .walking import fold_pieces

if TYPE_CHECKING:
    from ..model.snapshot import Snapshot


def snapshot_of(args: argparse.Namespace, text: str, tables: Collection[str]) -> "Snapshot":
    """Return the snapshot that a target has, or one that is taken now of its kernel.

    A snapshot that is taken has these tables, if the kernel provides them. Raises PageInspectError.
    """
    name = target_of(text)
    if name.snapshot is not None:
        from ..saved.opening import snapshot_in

        return snapshot_in(name.snapshot.dataset, name.snapshot.time, name.snapshot.host)
    source = name.core or name.qemu
    task = partial(_take, args, name, tables)
    return task() if source is None else isolation.explain_errors(task, source)


def _take(args: argparse.Namespace, name: TargetName, tables: Collection[str]) -> "Snapshot":
    from ..inspector.inspector import inspect
    from ..inspector.snapshot import host_of, take

    options = dict.fromkeys((*SYMBOLS, "symbols_from", "pause"))
    target = {"core": name.core, "qemu": name.qemu, "snapshot": None}
    own = argparse.Namespace(**{**vars(args), **options, **target})
    inspector = inspect(open_target(own))
    fold = partial(fold_pieces, own)
    return take(inspector, host=host_of(inspector), fold=fold, tables=tables)
