# SPDX-License-Identifier: GPL-2.0-only
"""Tables of snapshots as Arrow tables, and their encodings in Parquet."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from ..host.extras import load_library
from ..model.snapshot import SCHEMA, TABLES, Field, Names, SnapshotTable, Values
from .paths import clean, microseconds

SCHEMA_KEY = b"pageinspect.schema"
"""Key of the version of the tables in the metadata of a file."""
TABLE_KEY = b"pageinspect.table"
"""Key of the name of the table."""
GROUPS_KEY = b"pageinspect.groups"
"""Key of the first and last host and time in each row group of a file of many, as JSON."""

KEYS = (
    Field("host", "name", "The machine"),
    Field("time", "time", "When the snapshot was taken, to the second"),
)
"""Columns of each table in a dataset, before those of TABLES."""

_DELTA = ("pfn", "id", "owner")
"""Columns whose values differ little from one row to the next; others repeat, or are few."""
_LEVEL = 9
"""Of zstd: small files are written rarely and sent around. Reading is as fast at each level."""


@cache
def arrow(module: str = "pyarrow") -> Any:
    """Return a module of pyarrow. Raises PageInspectError if it is not installed."""
    return load_library(module, "snapshot")


@cache
def _type_of(kind: str) -> Any:
    pa = arrow()
    return {
        "bool": pa.bool_(),
        "uint8": pa.uint8(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "text": pa.string(),
        "name": pa.dictionary(pa.int32(), pa.string()),
        "names": pa.list_(pa.string()),
        "pages by name": pa.map_(pa.string(), pa.int64()),
        "time": pa.timestamp("us", "UTC"),
    }[kind]


def fields_of(table: str) -> tuple[Field, ...]:
    """Return the columns of a table in a dataset; of an unknown table those of all tables."""
    return (*KEYS, *TABLES.get(table, ()))


def arrow_field(field: Field) -> Any:
    """Return a column as a pyarrow.Field."""
    return arrow().field(field.name, _type_of(field.kind), nullable=bool(field.absent))


def schema_of(table: str, more: Sequence[Any] = ()) -> Any:
    """Return the pyarrow.Schema of a table in a dataset, with more fields at the end."""
    return arrow().schema([*map(arrow_field, fields_of(table)), *more])


@contextlib.contextmanager
def writer(sink: Any, table: str, schema: Any) -> Iterator[Any]:
    """Give a pyarrow.ParquetWriter for a file of a table, with its metadata."""
    delta = [field.name for field in schema if field.name in _DELTA]
    with arrow("pyarrow.parquet").ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=[path for field in schema for path in _dictionaries(field, delta)],
        column_encoding=dict.fromkeys(delta, "DELTA_BINARY_PACKED"),
        write_page_checksum=True,
        # It takes more space than many of the tables.
        store_schema=False,
    ) as file:
        file.add_key_value_metadata({SCHEMA_KEY: str(SCHEMA), TABLE_KEY: table})
        yield file


def _dictionaries(field: Any, delta: Sequence[str]) -> list[str]:
    """Return the paths of the Parquet columns of a field that have a dictionary."""
    types = arrow("pyarrow.types")
    if types.is_map(field.type):
        return [f"{field.name}.key_value.key"]
    if types.is_list(field.type):
        return [f"{field.name}.list.element"]
    return [] if field.name in delta or types.is_boolean(field.type) else [field.name]


def to_arrow(table: SnapshotTable, host: str, time: str) -> Any:
    """Return a table of a snapshot as a pyarrow.Table."""
    import numpy as np

    pa = arrow()
    rows = len(table)
    keys: Mapping[str, Values] = {
        "host": Names(np.zeros(rows, np.int32), (host,)),
        "time": np.full(rows, microseconds(time), np.int64),
    }
    fields = fields_of(table.name)
    columns = [_to_array(f, keys[f.name] if f in KEYS else table[f.name]) for f in fields]
    return pa.Table.from_arrays(columns, schema=schema_of(table.name))


def _to_array(field: Field, values: Values) -> Any:
    import numpy as np

    pa = arrow()
    wanted = _type_of(field.kind)
    if isinstance(values, Names):
        codes = pa.array(values.codes, pa.int32(), mask=values.codes < 0)
        texts = pa.array([*map(clean, values.values)], pa.string())
        return pa.DictionaryArray.from_arrays(codes, texts)
    if field.kind == "text":
        return pa.array([None if text is None else clean(text) for text in values], wanted)
    if field.kind == "names":
        lists = [None if texts is None else [*map(clean, texts)] for texts in values]
        return pa.array(lists, wanted)
    if field.kind == "pages by name":
        maps = [None if m is None else [(clean(k), int(v)) for k, v in m.items()] for m in values]
        return pa.array(maps, wanted)
    data = np.ma.getdata(values)
    mask = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None
    plain = pa.int64() if field.kind == "time" else wanted
    return pa.array(data, plain, mask=mask).cast(wanted)


def from_arrow(name: str, table: Any) -> SnapshotTable:
    """Return a pyarrow.Table, which has every column of the table `name`, as SnapshotTable."""
    return SnapshotTable(name, {f.name: _values(f, table.column(f.name)) for f in TABLES[name]})


def _values(field: Field, column: Any) -> Values:
    import numpy as np

    pa = arrow()
    if field.kind == "name":
        array = column.unify_dictionaries().combine_chunks()
        codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return _names(codes.astype(np.int32), array.dictionary)
    if field.kind == "pages by name":
        return [None if pairs is None else dict(pairs) for pairs in column.to_pylist()]
    if field.kind in ("text", "names"):
        return list(column.to_pylist())
    if field.kind == "time":
        column = column.cast(pa.int64())
    nothing = False if field.kind == "bool" else 0
    data = column.fill_null(nothing).to_numpy()
    if not field.absent:
        return data
    return np.ma.MaskedArray(data, column.is_null().to_numpy())


def _names(codes: Any, dictionary: Any) -> Names:
    """Return Names with the values that rows have, in the order of their first rows.

    A dictionary of merged files also has values of other snapshots, in any order.
    """
    import numpy as np

    first = np.full(len(dictionary) + 1, len(codes))
    # A null has the place behind all values. Of the same place, the last assignment counts.
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    used = np.argsort(first[:-1], kind="stable")[: np.count_nonzero(first[:-1] < len(codes))]
    numbers = np.full(len(first), -1, np.int32)
    numbers[used] = np.arange(len(used))
    return Names(numbers[codes], tuple(dictionary.take(arrow().array(used)).to_pylist()))
