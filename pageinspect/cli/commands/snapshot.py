# SPDX-License-Identifier: GPL-2.0-only
"""Keep what memory has at one moment as Parquet files, to compare and to query.

Each TARGET is a core; without one, this kernel is read. A snapshot has every page by use, type and
owner, the memory of processes, and the kernel's counters, in some KB. It is added to a dataset, a
folder that is created if it is missing. One line for each snapshot is written: the host, the
moment, pages, size and time. A core that cannot be read is reported, and the others go on.
"""

import argparse
import contextlib
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import Exit, PageInspectError, UsageError
from ...host.processes import ENDING
from ...host.terminal import say
from ..arguments import whole_number
from ..options import add_target_arguments, open_target
from ..walking import add_jobs_argument, fold_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...inspector.inspector import Inspector
    from ...model.snapshot import Snapshot

_MOST_SECONDS = 10**8
_MOST_KEPT = 10**9
_WORST_FIRST = (Exit.ERROR, Exit.INCOMPLETE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    # Each snapshot is taken in a child with limits.
    parser.set_defaults(isolates=True)
    parser.add_argument(
        "targets", nargs="*", type=Path, metavar="TARGET", help="a core; several may be given"
    )
    add_target_arguments(parser)
    group = parser.add_argument_group("dataset")
    group.add_argument(
        "-o",
        "--dataset",
        type=Path,
        metavar="DATASET",
        help="the folder to add snapshots to; it is created if it is missing",
    )
    group.add_argument(
        "--host",
        metavar="NAME",
        help="name of the machine in the dataset (default: the name that its own kernel has, as "
        "uname -n prints it)",
    )
    group.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="add the typed frees in FILE, which `trace --format json` wrote; --by caller gives "
        "their callers",
    )
    group.add_argument(
        "--keep",
        type=whole_number("a number of snapshots", 1, _MOST_KEPT),
        metavar="N",
        help="remove all but the latest N snapshots of this host afterwards",
    )
    group.add_argument(
        "--compact",
        type=Path,
        metavar="DATASET",
        help="take no snapshot: merge the snapshots of each day into one file for each table",
    )
    parser.add_argument(
        "--every",
        type=whole_number("a number of seconds", 1, _MOST_SECONDS),
        metavar="SECONDS",
        help="take another snapshot every SECONDS, until Ctrl-C, SIGTERM or SIGHUP",
    )
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Take the snapshots, or merge those of a dataset."""
    _check(args)
    if args.compact is not None:
        return _compact(args.compact)
    from ...dataset.schema import arrow

    # If it is missing, this is found out before anything is read.
    arrow()
    targets = _targets(args)
    if args.every is not None:
        return _repeated(args)
    statuses = [_in_child(args, target) for target in targets]
    return _worst(statuses)


def _compact(dataset: Path) -> int:
    from ...dataset.compact import compact
    from ...units import counted

    merged = compact(dataset)
    _print_line(f"{counted(merged.snapshots, 'snapshot')} of {counted(merged.days, 'day')} merged")
    return int(Exit.COMPLETE)


def _check(args: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense together."""
    if args.compact is not None:
        others = (
            *(args.dataset, args.host, args.trace, args.keep, args.every),
            *_targets(args),
        )
        if any(other is not None for other in others):
            raise UsageError("--compact takes no snapshot", "omit other options and targets")
        return
    if args.dataset is None:
        raise UsageError("no dataset is named", "name the folder to add snapshots to: -o DATASET")
    if args.host == "":
        raise UsageError("the name of the host is empty", "omit --host, or give a name")
    if args.trace is not None and (args.every is not None or len(_targets(args)) > 1):
        raise UsageError("--trace is of one snapshot", "omit --every, and name one target")
    if args.every is not None and any(core is not None for core in _targets(args)):
        raise UsageError(
            "--every is for a kernel that runs, and the memory of a core does not change",
            "omit --every, or the core",
        )


def _targets(args: argparse.Namespace) -> "Sequence[Path | None]":
    """Return the cores that are named; None is the kernel of the other options."""
    cores = [core for core in (args.core, *args.targets) if core is not None]
    if cores and args.qemu is not None:
        raise UsageError("a core and --qemu cannot be combined", "take their snapshots one by one")
    return cores or [None]


def _in_child(args: argparse.Namespace, core: Path | None) -> int:
    """Take a snapshot in a process of its own, report errors, and return the status."""
    from .. import isolation
    from ..main import reporting

    task = partial(_take, args, core)
    options = ("symbols", "btf", "kallsyms", "vmcoreinfo")
    given = [path for option in options if (path := getattr(args, option)) is not None]
    source = core or args.qemu
    task = partial(isolation.explain_errors, task, source, given)

    def alone() -> int:
        sys.meta_path.insert(0, _NoPandas())
        return reporting(task)

    return reporting(partial(isolation.run_isolated, alone, source))


class _NoPandas:
    """Finds no pandas: pyarrow would import it at its first array, which takes long."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Raise ModuleNotFoundError for pandas."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _take(args: argparse.Namespace, core: Path | None) -> int:
    """Take a snapshot, write it, and print its line; return the status."""
    from ...dataset.write import write_snapshot
    from ...host.startup import configure_libraries
    from ...inspector.inspector import inspect
    from ...inspector.snapshot import take
    from ...report.traced_frees import read_frees

    configure_libraries()
    frees = None if args.trace is None else read_frees(args.trace)
    began = time.monotonic()
    with contextlib.ExitStack() as ends:
        own = argparse.Namespace(**{**vars(args), "core": core, "ends": ends})
        inspector = inspect(open_target(own))
        snapshot = take(inspector, host=_host(args, inspector), fold=partial(fold_pieces, own))
    if frees is not None:
        snapshot = snapshot.having(frees)
    write_snapshot(args.dataset, snapshot)
    if args.keep is not None:
        from ...dataset.prune import keep

        keep(args.dataset, snapshot.host, args.keep)
    _print_line(_line(args.dataset, snapshot, time.monotonic() - began))
    whole = inspector.target.provenance.is_whole and not inspector.layout.unavailable
    missing = snapshot.header("unreadable") or snapshot.header("missing") or not whole
    return int(Exit.INCOMPLETE if missing else Exit.COMPLETE)


def _host(args: argparse.Namespace, inspector: "Inspector") -> str:
    from ...inspector.snapshot import host_of

    host = args.host or host_of(inspector)
    if not host:
        raise PageInspectError(
            "the name of the machine could not be read from its kernel", "give it: --host NAME"
        )
    return str(host)


def _line(dataset: Path, snapshot: "Snapshot", seconds: float) -> str:
    from ...dataset.files import Entry
    from ...units import counted

    entry, size = Entry(snapshot.host, snapshot.time), 0
    for name in snapshot.tables:
        # Another process may have merged them.
        with contextlib.suppress(FileNotFoundError):
            size += entry.path(dataset, name).stat().st_size
    pages = counted(snapshot.header("spanned"), "page")
    return f"{snapshot.host} {snapshot.time}: {pages}, {-(-size // 1000):,} KB, {seconds:.1f} s"


def _print_line(text: str) -> None:
    from ...units import printable

    if sys.stdout is not None:
        sys.stdout.write(printable(text) + "\n")


def _repeated(args: argparse.Namespace) -> int:
    """Take a snapshot every args.every seconds until a signal ends it; return the status.

    The one that is being taken is finished. One that fails is reported, and the next is tried,
    unless it is the first.
    """
    with _held() as ending:
        worst = _in_child(args, None)
        if worst == Exit.ERROR:
            return worst
        due, latest = time.monotonic(), time.time()
        while True:
            due = max(due + args.every, time.monotonic())
            by = signal.sigtimedwait(ending, max(0.0, due - time.monotonic()))
            if by is not None:
                return worst if by.si_signo == signal.SIGINT else 128 + by.si_signo
            own, now = args, time.time()
            if now < latest and args.keep is not None:
                say("the clock went back: no snapshot is removed until it is later than before")
                own = argparse.Namespace(**{**vars(args), "keep": None})
            latest = max(latest, now)
            worst = _worst([worst, _in_child(own, None)])


@contextlib.contextmanager
def _held() -> "Iterator[set[signal.Signals]]":
    """Hold back the signals that end a process, other than those that it ignores."""
    ending = {number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        yield ending
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _worst(statuses: "Sequence[int]") -> int:
    return int(next((status for status in _WORST_FIRST if status in statuses), max(statuses)))
