# SPDX-License-Identifier: GPL-2.0-only
"""Takes the snapshots of many cores on a Dask cluster."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ..errors import Exit, PageInspectError
from ..host.terminal import write_line
from .take_snapshot import named, print_line, record, recording, targets_of, worst_of


def on_cluster(args: argparse.Namespace) -> int:
    """Take the snapshots of cores on a cluster, print what each printed, and return the status."""
    from .cluster import outcomes_of
    from .main import reporting

    cores = list(dict.fromkeys(core for core, *_ in targets_of(args) if core is not None))
    outcomes = outcomes_of(args.dask, [_words(args, core) for core in cores])
    statuses = []
    with _bar(len(cores)) as between, contextlib.closing(outcomes):
        for number, outcome in outcomes:
            with between():
                for line in outcome.out.splitlines():
                    print_line(named(cores[number], line) if len(cores) > 1 else line)
                for line in outcome.err.splitlines():
                    write_line(line)
                if outcome.lost:
                    reporting(partial(_lose, args, cores[number], outcome.lost))
                elif outcome.status == Exit.ERROR:
                    _record_missing(args, cores[number], outcome.err)
                if sys.stdout is not None:
                    sys.stdout.flush()
            statuses.append(outcome.status)
    return worst_of(statuses)


def _record_missing(args: argparse.Namespace, core: Path, err: str) -> None:
    """Add the row of a core whose worker could add none, as there is no file of this path."""
    from ..dataset.failures import has_failure, record_failure
    from .main import ERROR_BEGINS

    lines = (line for line in err.splitlines() if line.startswith(ERROR_BEGINS))
    why = next(lines, "its process failed").removeprefix(ERROR_BEGINS)
    # What is wrong with the dataset itself was printed by the worker.
    with contextlib.suppress(PageInspectError):
        if not has_failure(args.dataset, core, args.host):
            record_failure(args.dataset, core, args.host, why, missing=True)


def _lose(args: argparse.Namespace, core: Path, why: str) -> int:
    """Add the row of a core that was not read to its end, and raise PageInspectError."""

    def lost() -> int:
        raise PageInspectError(
            f"{core} could not be read: {why}",
            "run it again: what is in the dataset already is skipped; if it ends so again, try the "
            "core without --dask",
        )

    return recording(lost, partial(record, args, core))


def _words(args: argparse.Namespace, core: Path) -> list[str]:
    """Return the words of the command for one core, wherever it runs."""
    files = {name: getattr(args, name) for name in ("symbols", "btf", "kallsyms", "vmcoreinfo")}
    options = {name: path and path.absolute() for name, path in files.items()}
    options |= {name: getattr(args, name) for name in ("symbols_from", "host", "keep", "jobs")}
    words = [f"--{k.replace('_', '-')}={v}" for k, v in options.items() if v is not None]
    words += ["--replace"] if args.replace else []
    return ["snapshot", f"--dataset={args.dataset.absolute()}", *words, "--", str(core.absolute())]


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Show on a terminal how many cores are done; give a context for printing about one."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield contextlib.nullcontext
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=" cores", desc="reading", leave=False, file=sys.stderr) as bar:

        @contextlib.contextmanager
        def between() -> Iterator[None]:
            bar.clear()
            yield
            bar.update()
            bar.refresh()

        yield between
