# SPDX-License-Identifier: GPL-2.0-only
"""The reports of `fleet` on a synthetic fleet, beside plain Polars scripts for the same questions.

The fleet is made from the real snapshots of a dataset, in a folder that is removed at the end.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fleet_data import Maker, Model, models, size_of
from results import print_table, write_json
from timing import Line, Timing, as_json, best, process, show

from pageinspect.fleet.questions import QUESTIONS

MOST_TIMES = 1.5
"""How many times as long as Polars a report may take."""
MOST_MEMORY = 2 << 30
_SCRIPT = Path(__file__).with_name("fleet_polars.py")
_PER_SNAPSHOT = 4000
"""Bytes of disk of a snapshot of the fleet, at most."""


@contextmanager
def folder_with(n_bytes: int, parent: Path | None) -> Iterator[Path]:
    """Give a new folder on a disk with this much space, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="pageinspect-fleet-", dir=parent) as name:
        if shutil.disk_usage(name).free < 2 * n_bytes:
            sys.exit(f"{name} has less than {2 * n_bytes >> 20} MiB of free disk")
        yield Path(name)


def report(dataset: Path, question: str) -> Timing:
    """Time a report as a process of its own."""
    return process(sys.executable, "-m", "pageinspect", "fleet", dataset, question)


def peer(dataset: Path, question: str) -> Timing:
    """Time the Polars script for the same question."""
    return process(sys.executable, _SCRIPT, dataset, question)


def compared(dataset: Path, runs: int) -> list[Line]:
    """Compare each report with its peer."""
    lines = []
    for question in QUESTIONS:
        ours, theirs = best(
            partial(report, dataset, question), partial(peer, dataset, question), runs=runs
        )
        lines.append(Line(question, "Polars", ours, theirs, "at most", MOST_TIMES))
    return lines


def loose(found: list[Model], hosts: int, parent: Path | None, runs: int) -> list[Line]:
    """Compare reports on snapshots in files of their own with those on whole days."""
    lines = []
    maker = Maker(found, hosts, 1)
    with folder_with(hosts * 100_000, parent) as folder:
        maker.write(folder / "days")
        maker.write_loose(folder / "loose")
        for question in QUESTIONS:
            ours, days = best(
                partial(report, folder / "loose", question),
                partial(report, folder / "days", question),
                runs=runs,
            )
            lines.append(Line(question, "one file a day", ours, days, "at most", None))
    return lines


def sizes(dataset: Path, maker: Maker, took: float) -> dict[str, Any]:
    """Print what the fleet takes on disk."""
    found = dict(size_of(dataset))
    snapshots = maker.hosts * maker.days
    print(f"made in {took:.0f} s: {sum(m.owners for m in maker.models)} owners in the models")
    print_table(
        ("table", "MB", "bytes a snapshot"),
        [
            (name, f"{n / 1e6:.1f}", f"{n / maker.of_days(name) / maker.hosts:.0f}")
            for name, n in found.items()
        ],
    )
    return {"bytes": found, "snapshots": snapshots, "made_s": took}


def main() -> None:
    """Make the fleet, and time the reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, metavar="DATASET", help="one or two real snapshots")
    parser.add_argument("--hosts", type=int, default=10_000, metavar="N")
    parser.add_argument("--days", type=int, default=30, metavar="N")
    parser.add_argument("--loose", type=int, default=1000, metavar="N", help="hosts, 0 for none")
    parser.add_argument("--runs", type=int, default=3, metavar="N")
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="where the fleet is made")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    found = models(args.models)
    maker = Maker(found, args.hosts, args.days)
    with folder_with(args.hosts * args.days * _PER_SNAPSHOT, args.folder) as dataset:
        start = time.perf_counter()
        maker.write(dataset)
        disk = sizes(dataset, maker, time.perf_counter() - start)
        lines = compared(dataset, args.runs)
    print(f"\n{args.hosts:,} hosts, {args.days} days, one snapshot a day, in one file a day:")
    show(lines)
    peak = max(line.ours.peak for line in lines)
    print(f"peak memory: {peak / 1e6:.0f} MB, at most {MOST_MEMORY / 1e6:.0f}")
    apart = loose(found, args.loose, args.folder, args.runs) if args.loose else []
    if apart:
        print(f"\n{args.loose:,} hosts, one snapshot each, in files of their own:")
        show(apart)
    result = {"disk": disk, "reports": as_json(lines), "loose": as_json(apart)}
    write_json(args.json, result)
    if peak > MOST_MEMORY or not all(line.met for line in lines):
        sys.exit("a limit is exceeded")


if __name__ == "__main__":
    main()
