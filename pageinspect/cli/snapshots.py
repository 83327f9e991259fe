# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots that commands take as arguments: of a dataset, or taken now of a kernel."""

import argparse
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from . import isolation
from .options import SYMBOLS, open_target
from .targets import target_of
from .walking import fold_pieces

if TYPE_CHECKING:
    from ..model.snapshot import Snapshot


def snapshot_of(args: argparse.Namespace, text: str, tables: Collection[str]) -> "Snapshot":
    """Return the snapshot of a target that a text names: see snapshot_of_target().

    Options that name the kernel or its types do not apply to it.
    """
    name = target_of(text)
    options = dict.fromkeys((*SYMBOLS, "symbols_from", "pause"))
    own = argparse.Namespace(**{**vars(args), **options, **name._asdict()})
    source = name.core or name.qemu
    task = partial(snapshot_of_target, own, tables)
    return task() if source is None else isolation.explain_errors(task, source)


def snapshot_of_target(args: argparse.Namespace, tables: Collection[str]) -> "Snapshot":
    """Return the snapshot of the target of the options: of a dataset, or taken now of its kernel.

    A snapshot that is taken has these tables, if the kernel provides them. Raises PageInspectError.
    """
    saved = getattr(args, "snapshot", None)
    if saved is not None:
        from ..saved.opening import snapshot_in

        return snapshot_in(saved.dataset, saved.time, saved.host)
    return _take(args, tables)


def _take(args: argparse.Namespace, tables: Collection[str]) -> "Snapshot":
    from ..inspector.inspector import inspect
    from ..inspector.snapshot import host_of, take

    inspector = inspect(open_target(args))
    fold = partial(fold_pieces, args)
    return take(inspector, host=host_of(inspector), fold=fold, tables=tables)
