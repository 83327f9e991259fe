# SPDX-License-Identifier: GPL-2.0-only
"""prometheus: text exposition of the metrics of a report, for node_exporter's textfile collector.

Numbers are gauges, whose names end in their unit, or counters, whose names end in _total; other
columns are labels.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from ...host.extras import load_library
from ...model.table import Absent, Column, Row
from ...report import Report
from ...report.metric_texts import MEANINGS
from ...report.metrics import Metrics
from ...units import printable
from ..format import Format

_NS = 1e-9


def _is_value(column: Column) -> bool:
    return (
        column.is_number
        and bool(column.unit or column.dtype == "float64")
        and column.unit not in ("pfn", "order")
    )


class _Collector:
    """What prometheus_client asks for metrics."""

    def __init__(
        self, report: Report, gauge: Callable[..., Any], counter: Callable[..., Any]
    ) -> None:
        self._report = report
        self._gauge = gauge
        self._counter = counter

    def collect(self) -> Iterator[Any]:
        for metrics in self._report.metrics():
            yield from self._families(metrics)

    def _families(self, metrics: Metrics) -> Iterator[Any]:
        columns, rows = metrics.table.columns, list(metrics.table.rows)
        labels = [
            i
            for i, column in enumerate(columns)
            if not _is_value(column) and any(row[i].__class__ is not Absent for row in rows)
        ]
        names = [columns[i].key for i in labels]
        for i, column in enumerate(columns):
            if not _is_value(column):
                continue
            name, factor = f"pageinspect_{metrics.prefix}_{column.key}", 1.0
            if column.unit == "ns":
                name, factor = f"{name.removesuffix('_ns')}_seconds", _NS
            meaning = MEANINGS[metrics.part][column.key]
            family = self._counter if metrics.only_grow else self._gauge
            found = family(name, f"{meaning} (pageinspect {metrics.about})", labels=names)
            for key, value in _sums(rows, labels, i).items():
                found.add_metric(key, value * factor if column.unit == "ns" else value)
            if found.samples:
                yield found


def _sums(rows: Iterable[Row], labels: list[int], value: int) -> dict[tuple[str, ...], Any]:
    """Return the values by label texts. Owners may have the same name: these are added up."""
    sums: dict[tuple[str, ...], Any] = {}
    for row in rows:
        cell: Any = row[value]
        if cell.__class__ is Absent:
            continue
        key = tuple("" if row[i].__class__ is Absent else printable(str(row[i])) for i in labels)
        sums[key] = sums.get(key, 0) + cell
    return sums


class _Prometheus(Format):
    library = ("prometheus_client", "prometheus")

    def write(self, report: Report, stream: TextIO) -> None:
        client = load_library(*self.library)
        registry = client.CollectorRegistry(auto_describe=False)
        families = client.metrics_core
        registry.register(
            _Collector(report, families.GaugeMetricFamily, families.CounterMetricFamily)
        )
        stream.write(client.generate_latest(registry).decode())


FORMAT = _Prometheus()
