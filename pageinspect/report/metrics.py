# SPDX-License-Identifier: GPL-2.0-only
"""The numbers of reports as metrics, for monitoring systems."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model.provenance import Provenance
from ..model.table import Column, Table
from .base import Coverage

if TYPE_CHECKING:
    from ..analysis.counter_check import CounterCheck


@dataclass(frozen=True, slots=True)
class Metrics:
    """A table whose numbers are metrics, and whose other columns are their labels."""

    prefix: str
    """Begins the names of the metrics, in snake case.

    It depends on what pages are counted by: the files of two reports may be read together, where
    no metric may occur twice.
    """
    about: str
    """The command, for the help text."""
    part: str
    """The key of what the columns mean in MEANINGS of metric_texts.py."""
    table: Table


_LABELS = ("release", "source", "symbols")
_KERNEL = (*(Column(name) for name in _LABELS), Column("info", "int64", "count"))
_COVERAGE = (
    Column("spanned", "int64", "pages", "spanned_pages"),
    Column("unreadable", "int64", "pages", "unreadable_pages"),
    Column("complete", "int64", "count"),
)


def kernel_metrics(prefix: str, about: str, provenance: Provenance) -> Metrics:
    """Return a metric that is 1, with the kernel as labels."""
    labels = [getattr(provenance, name) for name in _LABELS]
    return Metrics(prefix, about, "walk", Table("kernel", _KERNEL, [(*labels, 1)]))


def walk_metrics(
    prefix: str,
    about: str,
    provenance: Provenance,
    coverage: Coverage,
    checks: "Iterable[CounterCheck]" = (),
) -> Iterator[Metrics]:
    """Yield the kernel, the coverage of a walk, and its comparisons with the kernel's counters."""
    yield kernel_metrics(prefix, about, provenance)
    row = (coverage.spanned, coverage.unreadable, int(coverage.complete))
    yield Metrics(prefix, about, "walk", Table("coverage", _COVERAGE, [row]))
    # Imported here because it imports all of classify, which a trace does not need.
    from .counters import counters_table

    compared = counters_table(checks).only("name", "counted", "kernel")
    as_metrics = (Column("name"), *(Column(n, "int64", "pages", f"{n}_pages") for n in _COMPARED))
    yield Metrics(f"{prefix}_check", about, "check", Table("checks", as_metrics, compared.rows))


_COMPARED = ("counted", "kernel")
