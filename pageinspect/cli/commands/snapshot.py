# SPDX-License-Identifier: GPL-2.0-only
"""Keep what memory has at one moment as Parquet files, to compare and to query.

Each TARGET is a core; without one, this kernel is read. A snapshot has every page by use, type and
owner, the memory of processes, and the kernel's counters, in some KB. It is added to a dataset, a
folder that is created if it is missing. One line for each snapshot is written: the host, the
moment, the kernel, pages, size and time. A core that cannot be read is reported, and has a row with
its error in the dataset; the others go on. A core whose snapshot is in the dataset already is
skipped.
"""

import argparse
import contextlib
import re
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import Exit, PageInspectError, UsageError, needs_struct_pages
from ...host.processes import ENDING
from ...host.terminal import say, write_line
from ..arguments import cluster_of, kept, repeated
from ..no_pandas import do_without_pandas
from ..options import add_target_arguments, names_target, open_target
from ..targets import TargetName, target_of
from ..walking import add_jobs_argument, fold_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...inspector.inspector import Inspector
    from ...model.snapshot import Snapshot

_WORST_FIRST = (Exit.ERROR, Exit.INCOMPLETE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    # Each snapshot is taken in a child with limits.
    parser.set_defaults(isolates=True)
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="a core, qemu:SOCKET or live; several may be given",
    )
    add_target_arguments(parser, named=False)
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
        type=kept,
        metavar="N",
        help="remove all but the latest N snapshots of this host afterwards",
    )
    group.add_argument(
        "--replace",
        action="store_true",
        help="read a core again whose snapshot in the dataset is incomplete, and replace that if "
        "the new one is more complete",
    )
    group.add_argument(
        "--compact",
        action="store_true",
        help="take no snapshot: merge the snapshots of each day into one file for each table",
    )
    parser.add_argument(
        "--every",
        type=repeated,
        metavar="SECONDS",
        help="take another snapshot every SECONDS, until Ctrl-C, SIGTERM or SIGHUP",
    )
    parser.add_argument(
        "--dask",
        type=cluster_of,
        metavar="ADDRESS|local[:N]",
        help="read many cores at once on a Dask cluster: one with a scheduler at this address, as "
        "tcp://host:8786, whose machines have the files under the same names; or N processes on "
        "this machine (default: one per processor)",
    )
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Take the snapshots, or merge those of a dataset."""
    _check(args)
    if args.compact:
        return _compact(args.dataset)
    from ...dataset.schema import arrow

    # If it is missing, this is found out before anything is read.
    arrow()
    targets = _targets(args)
    args.frees = None
    if args.trace is not None:
        from ...report.traced_frees import read_frees

        # The same for a file that is not one of trace.
        args.frees = read_frees(args.trace)
    if args.every is not None:
        return _repeated(args)
    if args.dask is not None:
        return _on_cluster(args)
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
    if args.dataset is None:
        raise UsageError("no dataset is named", "name the folder of snapshots: -o DATASET")
    if args.compact:
        options = "host", "trace", "keep", "every", "dask", "targets", "replace"
        if any(getattr(args, name) for name in options) or names_target(args):
            raise UsageError("--compact takes no snapshot", "omit targets, and options but -o")
        return
    if args.host == "":
        raise UsageError("the name of the host is empty", "omit --host, or give a name")
    targets = _targets(args)
    if args.trace is not None and (args.every or args.dask or len(targets) > 1):
        raise UsageError("--trace is of one snapshot", "omit --every and --dask; name one target")
    if args.every is not None and (len(targets) > 1 or targets[0].core is not None):
        raise UsageError(
            "--every is for one kernel that runs: the memory of a core does not change",
            "omit --every, or other targets",
        )
    if args.dask is not None and any(target.core is None for target in targets):
        raise UsageError("--dask is for cores, and none is named", "name them, or omit --dask")
    if args.replace and all(target.core is None for target in targets):
        raise UsageError("--replace is for cores, and none is named", "omit it, or name a core")


def _targets(args: argparse.Namespace) -> "Sequence[TargetName]":
    """Return the kernels that are named; without any, it is this one."""
    option = TargetName(args.core, args.qemu, args.snapshot)
    found = [target_of(text) for text in args.targets]
    found += [option] if option != TargetName() or not found else []
    if any(target.snapshot is not None for target in found):
        raise needs_struct_pages("snapshot")
    return found


def _in_child(args: argparse.Namespace, target: TargetName) -> int:
    """Take a snapshot in a process of its own, report errors, and return the status."""
    from .. import isolation
    from ..main import reporting

    core = target.core
    task = partial(_take, args, target)
    options = ("symbols", "btf", "kallsyms", "vmcoreinfo")
    given = [path for option in options if (path := getattr(args, option)) is not None]
    source = core or target.qemu
    task = partial(isolation.explain_errors, task, source, given)

    def isolated(task: "Callable[[], int]") -> int:
        def alone() -> int:
            do_without_pandas()
            return task()

        return isolation.run_isolated(alone, source)

    def recorded(error: PageInspectError) -> None:
        # In a child, as pyarrow may start threads, after which this process could not fork.
        isolated(partial(reporting, partial(_record, args, core, error)))

    in_child = partial(reporting, partial(_recording, task, partial(_record, args, core)))
    return reporting(partial(_recording, partial(isolated, in_child), recorded))


def _recording(task: "Callable[[], int]", record: "Callable[[PageInspectError], object]") -> int:
    """Return task(); call `record` with its error before it is raised again."""
    try:
        return task()
    except UsageError:
        raise
    except PageInspectError as error:
        try:
            record(error)
        except PageInspectError as second:
            if second.message == error.message:
                # The dataset itself is the reason.
                raise error from None
            hint = f"{error.hint}; the dataset has no row of it: {second.message}"
            raise PageInspectError(error.message, hint) from None
        raise


def _record(args: argparse.Namespace, core: Path | None, error: PageInspectError) -> int:
    """Add the row of a core that could not be read. Raises PageInspectError."""
    from ...dataset.failures import record_failure

    if core is not None:
        record_failure(args.dataset, core, args.host, error.message)
    return Exit.COMPLETE


def _take(args: argparse.Namespace, target: TargetName) -> int:
    """Take a snapshot, write it, and print its line; return the status."""
    from ...dataset.write import write_snapshot
    from ...host.startup import configure_libraries
    from ...inspector.inspector import inspect
    from ...inspector.lost_pages import pointer
    from ...inspector.snapshot import is_more_complete, is_whole, take

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
    if args.frees is not None:
        snapshot = snapshot.having(args.frees)
    if core is not None:
        from ...dataset.failures import remove_failure

        for name in dict.fromkeys((args.host, None)):
            remove_failure(args.dataset, core, name)
    if there is not None:
        if not is_more_complete(snapshot, there):
            return _already(args, target, there)
        from ...dataset.prune import replace_snapshot

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


def _found(dataset: Path, host: str, inspector: "Inspector") -> "Snapshot | None":
    """Return the snapshot of a core if a dataset has it, without tables but `snapshots`."""
    from ...dataset import paths
    from ...dataset.read import look_up, read_snapshot
    from ...inspector.snapshot import is_of, time_of

    host, moment = paths.clean(host), paths.time_of(time_of(inspector) // 1_000_000)
    if look_up(dataset, host, moment) is None:
        return None
    found = read_snapshot(dataset, host, moment, ())
    return found if is_of(found, inspector) else None


def _already(args: argparse.Namespace, target: TargetName, there: "Snapshot") -> int:
    """Print that a dataset has a snapshot already, and return the status of that one."""
    from ...inspector.snapshot import is_whole

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
        from ...dataset.prune import keep

        keep(args.dataset, host, args.keep)


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
    # Without the flavour of the build: 6.12.117+deb13 of 6.12.117+deb13-cloud-amd64.
    release = re.match(r"[^-]*(-(\d|rc)[^-]*)?", snapshot.header("release"))
    of_kernel = f"{release[0]}, " if release and release[0] else ""
    sizes = f"{pages}, {-(-size // 1000):,} KB, {seconds:.1f} s"
    return f"{snapshot.host} {snapshot.time}: {of_kernel}{sizes}"


def _print_of(args: argparse.Namespace, target: TargetName, line: str) -> None:
    """Print the line of a target, after its name if it is one of several."""
    _print_line(_named(target.core or target.qemu, line) if len(_targets(args)) > 1 else line)


def _named(path: Path | None, line: str) -> str:
    return f"{path or 'live'}: {line}"


def _on_cluster(args: argparse.Namespace) -> int:
    """Take the snapshots of cores on a cluster, print what each printed, and return the status."""
    from ..cluster import outcomes_of
    from ..main import reporting

    cores = list(dict.fromkeys(core for core, *_ in _targets(args) if core is not None))
    outcomes = outcomes_of(args.dask, [_words(args, core) for core in cores])
    statuses = []
    with _bar(len(cores)) as between, contextlib.closing(outcomes):
        for number, outcome in outcomes:
            with between():
                for line in outcome.out.splitlines():
                    _print_line(_named(cores[number], line) if len(cores) > 1 else line)
                for line in outcome.err.splitlines():
                    write_line(line)
                if outcome.lost:
                    reporting(partial(_lose, args, cores[number], outcome.lost))
                if sys.stdout is not None:
                    sys.stdout.flush()
            statuses.append(outcome.status)
    return _worst(statuses)


def _lose(args: argparse.Namespace, core: Path, why: str) -> int:
    """Add the row of a core that was not read to its end, and raise PageInspectError."""

    def lost() -> int:
        raise PageInspectError(
            f"{core} could not be read: {why}",
            "run it again: what is in the dataset already is skipped; if it ends so again, try the "
            "core without --dask",
        )

    return _recording(lost, partial(_record, args, core))


def _words(args: argparse.Namespace, core: Path) -> list[str]:
    """Return the words of the command for one core, wherever it runs."""
    files = {name: getattr(args, name) for name in ("symbols", "btf", "kallsyms", "vmcoreinfo")}
    options = {name: path and path.absolute() for name, path in files.items()}
    options |= {name: getattr(args, name) for name in ("symbols_from", "host", "keep", "jobs")}
    words = [f"--{k.replace('_', '-')}={v}" for k, v in options.items() if v is not None]
    words += ["--replace"] if args.replace else []
    return ["snapshot", f"--dataset={args.dataset.absolute()}", *words, "--", str(core.absolute())]


@contextlib.contextmanager
def _bar(total: int) -> "Iterator[Callable[[], contextlib.AbstractContextManager[None]]]":
    """Show on a terminal how many cores are done; give a context for printing about one."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield contextlib.nullcontext
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=" cores", desc="reading", leave=False, file=sys.stderr) as bar:

        @contextlib.contextmanager
        def between() -> "Iterator[None]":
            bar.clear()
            yield
            bar.update()
            bar.refresh()

        yield between


def _print_line(text: str) -> None:
    from ...units import printable

    if sys.stdout is not None:
        sys.stdout.write(printable(text) + "\n")


def _repeated(args: argparse.Namespace) -> int:
    """Take a snapshot every args.every seconds until a signal ends it; return the status.

    The one that is being taken is finished. One that fails is reported, and the next is tried,
    unless it is the first.
    """
    (target,) = _targets(args)
    with _held() as ending:
        worst = _in_child(args, target)
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
            worst = _worst([worst, _in_child(own, target)])


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
