# SPDX-License-Identifier: GPL-2.0-only
"""Takes a snapshot of a kernel for a dataset, in a process of its own, or records its error."""

import argparse
import contextlib
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Exit, PageInspectError, UsageError, needs_struct_pages
from ..host.terminal import say
from .options import open_target
from .targets import TargetName, target_of
from .walking import fold_pieces

if TYPE_CHECKING:
    from ..inspector.inspector import Inspector
    from ..model.snapshot import Snapshot

_WORST_FIRST = (Exit.ERROR, Exit.INCOMPLETE)


def targets_of(args: argparse.Namespace) -> Sequence[TargetName]:
    """Return the kernels that are named; without any, it is this one."""
    option = TargetName(args.core, args.qemu, args.snapshot)
    found = [target_of(text) for text in args.targets]
    found += [option] if option != TargetName() or not found else []
    if any(target.snapshot is not None for target in found):
        raise needs_struct_pages("snapshot")
    return found


def in_child(args: argparse.Namespace, target: TargetName) -> int:
    """Take a snapshot in a process of its own, report errors, and return the status."""
    from ..host.startup import hide_pandas
    from . import isolation
    from .main import reporting

    core = target.core
    task = partial(_take, args, target)
    options = ("symbols", "btf", "kallsyms", "vmcoreinfo")
    given = [path for option in options if (path := getattr(args, option)) is not None]
    source = core or target.qemu
    task = partial(isolation.explain_errors, task, source, given)

    def isolated(task: Callable[[], int]) -> int:
        def alone() -> int:
            hide_pandas()
            return task()

        return isolation.run_isolated(alone, source)

    def recorded(error: PageInspectError) -> None:
        # In a child, as pyarrow may start threads, after which this process could not fork.
        isolated(partial(reporting, partial(record, args, core, error)))

    alone = partial(reporting, partial(recording, task, partial(record, args, core)))
    return reporting(partial(recording, partial(isolated, alone), recorded))


def recording(task: Callable[[], int], add_row: Callable[[PageInspectError], object]) -> int:
    """Return task(); call `add_row` with its error before it is raised again."""
    try:
        return task()
    except UsageError:
        raise
    except PageInspectError as error:
        try:
            add_row(error)
        except PageInspectError as second:
            if second.message == error.message:
                # The dataset itself is the reason.
                raise error from None
            hint = f"{error.hint}; the dataset has no row of it: {second.message}"
            raise PageInspectError(error.message, hint) from None
        raise


def record(args: argparse.Namespace, core: Path | None, error: PageInspectError) -> int:
    """Add the row of a core that could not be read. Raises PageInspectError."""
    from ..dataset.failures import record_failure

    if core is not None:
        record_failure(args.dataset, core, args.host, error.message)
    return Exit.COMPLETE


def _take(args: argparse.Namespace, target: TargetName) -> int:
    """Take a snapshot, write it, and print its line; return the status."""
    from ..dataset.write import write_snapshot
    from ..host.startup import configure_libraries
    from ..inspector.inspector import inspect
    from ..inspector.lost_pages import pointer
    from ..inspector.snapshot import is_more_complete, is_whole, take

    configure_libraries()
    began, core = time.monotonic(), target.core
    with contextlib.ExitStack() as ends:
        own = argparse.Namespace(**{**vars(args), **target._asdict(), "ends": ends})
        inspector = inspect(open_target(own))
        host = _host(args, inspector)
        there = None if core is None else _found(args.dataset, host, inspector)
        if there is not None and (is_whole(there) or not args.replace):
            return _already(args, target, there)
        snapshot = take(inspector, host=host, fold=partial(fold_pieces, own))
    snapshot = _with_frees(args, snapshot, there)
    if core is not None:
        from ..dataset.failures import remove_failure

        for name in dict.fromkeys((args.host, None)):
            remove_failure(args.dataset, core, name)
    if there is not None:
        if not is_more_complete(snapshot, there):
            return _already(args, target, there)
        from ..dataset.prune import replace_snapshot

        replace_snapshot(args.dataset, snapshot)
    else:
        try:
            write_snapshot(args.dataset, snapshot)
        except PageInspectError:
            # A copy of the core may have been read at the same time.
            if core is None or (there := _found(args.dataset, host, inspector)) is None:
                raise
            return _already(args, target, there)
    _keep(args, snapshot.host)
    _print_of(args, target, _line(args.dataset, snapshot, time.monotonic() - began))
    if (point := pointer(inspector)) in snapshot.header("missing"):
        say(point)
    return int(Exit.COMPLETE if is_whole(snapshot) else Exit.INCOMPLETE)


def _with_frees(
    args: argparse.Namespace, snapshot: "Snapshot", there: "Snapshot | None"
) -> "Snapshot":
    """Return a snapshot with the frees of --trace, or else of the one that it replaces."""
    if args.frees is not None:
        return snapshot.having(args.frees)
    if there is None or "frees" not in there.header("tables"):
        return snapshot
    from ..dataset.read import read_snapshot

    tables = read_snapshot(args.dataset, there.host, there.time, ("frees",)).tables
    return snapshot.having(tables["frees"])


def _found(dataset: Path, host: str, inspector: "Inspector") -> "Snapshot | None":
    """Return the snapshot of a core if a dataset has it, without tables but `snapshots`."""
    from ..dataset import paths
    from ..dataset.read import look_up, read_snapshot
    from ..inspector.snapshot import is_of, time_of

    host, moment = paths.clean(host), paths.time_of(time_of(inspector) // 1_000_000)
    if look_up(dataset, host, moment) is None:
        return None
    found = read_snapshot(dataset, host, moment, ())
    return found if is_of(found, inspector) else None


def _already(args: argparse.Namespace, target: TargetName, there: "Snapshot") -> int:
    """Print that a dataset has a snapshot already, and return the status of that one."""
    from ..inspector.snapshot import is_whole

    _keep(args, there.host)
    text = f"{there.host} {there.time}: already in {args.dataset}"
    if is_whole(there):
        _print_of(args, target, text)
        return int(Exit.COMPLETE)
    advice = "what is read now is not more complete" if args.replace else "--replace reads it again"
    _print_of(args, target, f"{text}, incomplete; {advice}")
    return int(Exit.INCOMPLETE)


def _keep(args: argparse.Namespace, host: str) -> None:
    """Remove the oldest snapshots of a host, as --keep asks for."""
    if args.keep is not None:
        from ..dataset.prune import keep

        keep(args.dataset, host, args.keep)


def _host(args: argparse.Namespace, inspector: "Inspector") -> str:
    from ..inspector.snapshot import host_of

    host = args.host or host_of(inspector)
    if not host:
        raise PageInspectError(
            "the name of the machine could not be read from its kernel", "give it: --host NAME"
        )
    return str(host)


def _line(dataset: Path, snapshot: "Snapshot", seconds: float) -> str:
    from ..dataset.files import Entry
    from ..units import counted

    entry, size = Entry(snapshot.host, snapshot.time), 0
    for name in snapshot.tables:
        # Another process may have merged them.
        with contextlib.suppress(FileNotFoundError):
            size += entry.path(dataset, name).stat().st_size
    pages = counted(snapshot.header("spanned"), "page")
    # Without the flavour of the build: 6.12.117+deb13 of 6.12.117+deb13-cloud-amd64.
    release = re.match(r"[^-]*(-(\d|rc)[^-]*)?", snapshot.header("release"))
    of_kernel = f"{release[0]}, " if release and release[0] else ""
    sizes = f"{pages}, {-(-size // 1000):,} KB, {seconds:.1f} s"
    return f"{snapshot.host} {snapshot.time}: {of_kernel}{sizes}"


def _print_of(args: argparse.Namespace, target: TargetName, line: str) -> None:
    """Print the line of a target, after its name if it is one of several."""
    print_line(named(target.core or target.qemu, line) if len(targets_of(args)) > 1 else line)


def named(path: Path | None, line: str) -> str:
    """Return a line with the name of its target before it."""
    return f"{path or 'live'}: {line}"


def print_line(text: str) -> None:
    """Write a line, if standard output is open."""
    from ..units import printable

    if sys.stdout is not None:
        sys.stdout.write(printable(text) + "\n")


def worst_of(statuses: Sequence[int]) -> int:
    """Return the status of all: that of an error, or else of what is incomplete, or the highest."""
    return int(next((status for status in _WORST_FIRST if status in statuses), max(statuses)))
