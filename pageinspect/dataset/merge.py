# SPDX-License-Identifier: GPL-2.0-only
"""Merges files of one table into one, with rows by host and time, a row group at a time."""

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ..errors import PageInspectError
from ..units import printable
from .parquet import check_size, complete, opened, times_of
from .schema import GROUPS_KEY, arrow, fields_of, schema_of, writer

GROUP_ROWS = 1 << 17
"""Rows of a row group, which bound the memory that is taken. An engine skips the groups that have
no rows of a host, and shares groups out to threads."""

Key = tuple[str, str]


class Source(NamedTuple):
    """A file of a table."""

    path: Path
    key: Key | None
    """Host and time of the only snapshot in it; None of a file of many, sorted by them."""


class _NewColumnsError(Exception):
    """A file has columns of a later version that the files before it did not have."""

    def __init__(self, fields: Sequence[Any]) -> None:
        super().__init__(fields)
        self.fields = fields


def merge(
    stream: IO[bytes], table: str, sources: Sequence[Source], without: frozenset[Key]
) -> None:
    """Write the rows of files to a stream, sorted by host and time, but not of some snapshots.

    Columns that only a later version knows are kept. Raises OSError and PageInspectError.
    """
    more: list[Any] = []
    while True:
        try:
            _merge(stream, table, sources, without, more)
        except _NewColumnsError as error:
            more += error.fields
            stream.seek(0)
            stream.truncate()
        else:
            return


def _merge(
    stream: IO[bytes],
    table: str,
    sources: Sequence[Source],
    without: frozenset[Key],
    more: Sequence[Any],
) -> None:
    schema = schema_of(table, more)
    alone = sorted((s for s in sources if s.key is not None), key=lambda source: source.key or ())
    streams = [_parts(table, (s for s in sources if s.key is None), schema)]
    streams.append(_parts(table, alone, schema))
    held: list[tuple[Key, Any]] = []
    groups: list[tuple[Key, Key]] = []
    with writer(stream, table, schema) as file:

        def write() -> None:
            rows = arrow().concat_tables([part for _, part in held])
            file.write_table(rows.unify_dictionaries().combine_chunks(), row_group_size=len(rows))
            groups.append((held[0][0], held[-1][0]))
            held.clear()

        n_rows = 0
        for key, rows in heapq.merge(*streams, key=lambda part: part[0]):
            if key in without:
                continue
            held.append((key, rows))
            n_rows += len(rows)
            if n_rows >= GROUP_ROWS:
                write()
                n_rows = 0
        if held:
            write()
        file.add_key_value_metadata({GROUPS_KEY: json.dumps(groups)})


def _parts(table: str, sources: Iterable[Source], schema: Any) -> Iterator[tuple[Key, Any]]:
    """Yield the rows of files, a part for each snapshot or less."""
    known = {field.name for field in fields_of(table)}
    for source in sources:
        with opened(source.path, table) as file:
            new = [f for f in file.schema_arrow if f.name not in schema.names]
            if new:
                raise _NewColumnsError([f.with_nullable(nullable=True) for f in new])
            for group in range(file.num_row_groups):
                check_size(source.path, file.metadata, [group])
                rows = file.read_row_group(group, use_threads=False)
                rows.validate(full=True)
                for key, part in _by_snapshot(rows):
                    if source.key not in (None, key):
                        raise PageInspectError(
                            f"{printable(str(source.path))} has rows of another snapshot: of "
                            f"{printable(key[0])} at {key[1]}",
                            "it was moved or changed: move it out of the dataset",
                        )
                    yield key, _conform(source.path, table, part, schema, known)


def _by_snapshot(rows: Any) -> Iterator[tuple[Key, Any]]:
    """Yield host, time and rows of each snapshot in rows that are sorted by them."""
    if not len(rows):
        return
    codes = rows["host"].unify_dictionaries().combine_chunks()
    hosts, times = codes.indices.to_numpy(), rows["time"].cast(arrow().int64()).to_numpy()
    changes = np.flatnonzero((np.diff(hosts) != 0) | (np.diff(times) != 0)) + 1
    starts = np.concatenate(([0], changes))
    texts = times_of(rows["time"].take(starts))
    for start, end, time in zip(starts, [*changes, len(rows)], texts, strict=True):
        yield (codes.dictionary[hosts[start]].as_py(), time), rows.slice(start, end - start)


def _conform(path: Path, table: str, rows: Any, schema: Any, known: set[str]) -> Any:
    pa = arrow()
    there = complete(path, table, rows, [name for name in schema.names if name in known])
    columns = [*there.columns]
    for field in list(schema)[len(columns) :]:
        has = field.name in rows.column_names
        columns.append(
            rows[field.name].cast(field.type)
            if has
            else pa.chunked_array([pa.nulls(len(rows), field.type)])
        )
    return pa.Table.from_arrays(columns, schema=schema)
