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
from pathlib import Path

from ...errors import Exit, UsageError
from ..arguments import cluster_of, kept, repeated
from ..options import add_target_arguments, names_target
from ..take_snapshot import in_child, print_line, targets_of, worst_of
from ..walking import add_jobs_argument


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
    from ...dataset.write import check_place

    # What is wrong is found out before anything is read.
    arrow()
    check_place(args.dataset)
    args.frees = None
    if args.trace is not None:
        from ...report.traced_frees import read_frees

        # The same for a file that is not one of trace.
        args.frees = read_frees(args.trace)
    if args.every is not None:
        from ..snapshot_readings import repeatedly

        return repeatedly(args)
    if args.dask is not None:
        from ..snapshot_cluster import on_cluster

        return on_cluster(args)
    return worst_of([in_child(args, target) for target in targets_of(args)])


def _compact(dataset: Path) -> int:
    from ...dataset.compact import compact
    from ...units import counted

    merged = compact(dataset)
    print_line(f"{counted(merged.snapshots, 'snapshot')} of {counted(merged.days, 'day')} merged")
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
    targets = targets_of(args)
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
