# SPDX-License-Identifier: GPL-2.0-only
"""A synthetic fleet: the files of whole days, made from real snapshots with seeded variation.

Tables that no report reads are not made, and blocks only for the last days, which alone are read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pageinspect.dataset.files import committed
from pageinspect.dataset.paths import day_file, part_of
from pageinspect.dataset.schema import arrow, schema_of, writer

pa = arrow()

Integers = npt.NDArray[np.int64]
TABLES = ("owners", "blocks", "frees", "snapshots")
"""The tables of a day, in the order in which they are written."""
_START = datetime(2026, 10, 1, 3, tzinfo=UTC)
_AT_ONCE = {"owners": 125, "blocks": 125, "frees": 16_000, "snapshots": 128_000}
"""Hosts of a row group, which has about as many rows as in a day that was merged."""
_BLOCK_DAYS = 2
_FREES = 8
"""Rows of the table frees of one snapshot."""
_DROPPED = 0.1
"""Share of the owners of the real snapshot that a host lacks."""
_GROWING = 0.02
"""Share of the owners that grow on a host."""


@dataclass(frozen=True, slots=True)
class Model:
    """The tables of one real snapshot."""

    tables: dict[str, Any]

    @property
    def owners(self) -> int:
        """The number of owners."""
        return len(self.tables["owners"])


def models(dataset: Path) -> list[Model]:
    """Return the real snapshots of a dataset."""
    parquet = arrow("pyarrow.parquet")
    read = {}
    for name in ("snapshots", "owners", "blocks"):
        tables = [parquet.read_table(path, partitioning=None) for path in committed(dataset, name)]
        read[name] = pa.concat_tables(tables).unify_dictionaries()
    found = []
    for row in read["snapshots"].select(["host", "time"]).to_pylist():
        of_one = {}
        for name, table in read.items():
            host = np.array(table["host"].to_pylist(), object) == row["host"]
            time = np.array(table["time"].to_pylist(), object) == row["time"]
            of_one[name] = table.filter(pa.array(host & time)).combine_chunks()
        found.append(Model(of_one))
    return found


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the tables of a number of hosts and days."""

    models: list[Model]
    hosts: int
    days: int

    def of_days(self, name: str) -> int:
        """Return the number of days that a table is made for."""
        return min(self.days, _BLOCK_DAYS) if name == "blocks" else self.days

    def write(self, dataset: Path) -> None:
        """Write each day as one file a table."""
        for day in range(self.days):
            date = f"{_START + timedelta(days=day):%Y%m%d}"
            for name in TABLES:
                if day < self.days - self.of_days(name):
                    continue
                path = day_file(dataset, name, date, 1)
                path.parent.mkdir(parents=True)
                at_once = _AT_ONCE[name]
                self._write(path, name, day, range(0, self.hosts, at_once), at_once)

    def write_loose(self, dataset: Path) -> None:
        """Write each snapshot as files of its own, as they are before a day is merged."""
        for day in range(self.days):
            for host in range(self.hosts):
                time = f"{_START + timedelta(days=day):%Y%m%dT%H%M%SZ}"
                for name in TABLES:
                    path = part_of(dataset, name, _host(host), time)
                    path.parent.mkdir(parents=True)
                    self._write(path, name, day, range(host, host + 1), 1)

    def _write(self, path: Path, name: str, day: int, firsts: range, n: int) -> None:
        schema = schema_of(name)
        with path.open("wb") as stream, writer(stream, name, schema) as file:
            for first in firsts:
                hosts = np.arange(first, min(first + n, self.hosts))
                file.write_table(self._rows(name, hosts, day).cast(schema))

    def _rows(self, name: str, hosts: Integers, day: int) -> Any:
        parts = []
        for number, model in enumerate(self.models):
            of_model = hosts[hosts % len(self.models) == number]
            if len(of_model):
                parts.append(getattr(self, f"_{name}")(model, of_model, day))
        return pa.concat_tables(parts)

    def _keys(self, hosts: Integers, rows: Integers, day: int) -> dict[str, Any]:
        names = pa.array([_host(host) for host in hosts.tolist()])
        moment = int((_START + timedelta(days=day)).timestamp() * 1e6)
        times = pa.array(np.full(len(rows), moment), pa.timestamp("us", "UTC"))
        return {
            "host": pa.DictionaryArray.from_arrays(pa.array(rows, pa.int32()), names),
            "time": times,
        }

    def _table(
        self, model: Model, name: str, hosts: Integers, day: int, kept: Any, **new: Any
    ) -> Any:
        """Return rows of the model for each host: `kept`, (hosts, rows), says which."""
        rows, at = np.nonzero(kept)
        taken = model.tables[name].take(pa.array(at))
        columns = {column: taken.column(column) for column in taken.column_names}
        columns.update(self._keys(hosts, rows, day))
        columns.update({column: pa.array(values[kept]) for column, values in new.items()})
        return pa.table({field.name: columns[field.name] for field in schema_of(name)})

    def _owners(self, model: Model, hosts: Integers, day: int) -> Any:
        pages = model.tables["owners"]["pages"].to_numpy()
        kept, sizes = _varied(pages, hosts, day)
        return self._table(model, "owners", hosts, day, kept, pages=sizes)

    def _blocks(self, model: Model, hosts: Integers, day: int) -> Any:
        table = model.tables["blocks"]
        shape = (len(hosts), len(table))
        chance = np.random.default_rng((3, int(hosts[0]), day))
        # A host has the blocks of the model, with some pages made unmovable.
        free, unmovable = (table[name].to_numpy() for name in ("free", "unmovable"))
        moved = chance.integers(0, 40, shape) * (
            chance.random(shape) < chance.random((len(hosts), 1))
        )
        moved = np.minimum(moved, free)
        return self._table(
            model,
            "blocks",
            hosts,
            day,
            np.ones(shape, bool),
            free=(free - moved).astype(np.int32),
            unmovable=(unmovable + moved).astype(np.int32),
        )

    def _snapshots(self, model: Model, hosts: Integers, day: int) -> Any:
        table = model.tables["snapshots"]
        pages = dict(table["uses"].to_pylist()[0])
        chance = np.random.default_rng((4, int(hosts[0]), day))
        varied = chance.lognormal(0, 0.2, (len(hosts), len(pages)))
        uses = [
            [(use, int(n * by)) for (use, n), by in zip(pages.items(), row, strict=True)]
            for row in varied.tolist()
        ]
        columns = {
            name: table.column(name).take(pa.array(np.zeros(len(hosts), np.int64)))
            for name in table.column_names
        }
        columns.update(self._keys(hosts, np.arange(len(hosts)), day))
        columns["uses"] = pa.array(uses, pa.map_(pa.string(), pa.int64()))
        columns["boot_id"] = pa.array([f"{host}-{day // 7}" for host in hosts.tolist()])
        columns["tables"] = pa.array([list(TABLES)] * len(hosts))
        return pa.table({field.name: columns[field.name] for field in schema_of("snapshots")})

    def _frees(self, model: Model, hosts: Integers, day: int) -> Any:
        del model
        rows = np.repeat(np.arange(len(hosts)), _FREES)
        chance = np.random.default_rng((5, int(hosts[0]), day))
        kinds = np.tile(np.arange(_FREES) % 3, len(hosts))
        n = chance.integers(1, 10_000, len(rows))
        callers = pa.array([f"caller_{i}" for i in range(200)])
        columns = {
            **self._keys(hosts, rows, day),
            "type": pa.DictionaryArray.from_arrays(
                pa.array(kinds, pa.int32()), pa.array(["slab", "table", "buddy"])
            ),
            "caller": pa.DictionaryArray.from_arrays(
                pa.array(chance.integers(0, 200, len(rows)), pa.int32()), callers
            ),
            "frees": pa.array(n),
            "pages": pa.array(n * 2),
            "expected": pa.array(kinds == 0),
            "disallowed": pa.array(kinds == 2),
            "seconds": pa.array(np.full(len(rows), 60.0)),
        }
        return pa.table({field.name: columns[field.name] for field in schema_of("frees")})


def _varied(pages: Integers, hosts: Integers, day: int) -> tuple[Any, Integers]:
    """Return which owners each host has, and their pages on a day, (hosts, owners)."""
    shape = (len(hosts), len(pages))
    fixed = np.random.default_rng((1, int(hosts[0])))
    kept = fixed.random(shape, np.float32) >= _DROPPED
    size = np.exp(0.3 * fixed.standard_normal(shape, np.float32))
    growing = fixed.random(shape, np.float32) < _GROWING
    chance = np.random.default_rng((2, int(hosts[0]), day))
    noise = 1 + 0.05 * chance.standard_normal(shape, np.float32)
    grown = np.where(growing, 1 + 0.1 * day, 1)
    return kept, np.maximum(pages * size * noise * grown, 1).astype(np.int64)


def _host(number: int) -> str:
    return f"host-{number:07}"


def size_of(dataset: Path) -> Iterator[tuple[str, int]]:
    """Yield each table and the bytes of its files."""
    for name in TABLES:
        yield name, sum(path.stat().st_size for path in committed(dataset, name))
