# SPDX-License-Identifier: GPL-2.0-only
"""Reads Parquet files of a dataset. Their contents are untrusted: sizes are bounded."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import PageInspectError
from ..model.snapshot import SCHEMA
from ..units import number, printable
from .paths import microseconds
from .schema import GROUPS_KEY, KEYS, SCHEMA_KEY, TABLE_KEY, arrow, arrow_field, fields_of

_KEYS = tuple(field.name for field in KEYS)

_MOST_ROWS = 1 << 27
"""Rows that are read of a table at once: those of one snapshot, or of a row group."""
_MOST_BYTES = 8 << 30
"""Bytes of the same rows before compression, as the file has it."""
_THRIFT = 256 << 20
"""Bytes of a text, and entries of a list, in the footer."""

_OF_CONTENTS = (ValueError, OverflowError, TypeError, LookupError, RecursionError)
"""What unexpected contents raise."""
_DAMAGED = (
    "the file is damaged or cut off: copy it again from where the dataset comes from, or move it "
    "out of the dataset"
)


@contextlib.contextmanager
def opened(path: Path, table: str) -> Iterator[Any]:
    """Give a file of a table as pyarrow's ParquetFile.

    Raises PageInspectError, also for what fails in the context: for a file that is damaged, of
    another table, or of a newer version; and FileNotFoundError.
    """
    names = [field.name for field in fields_of(table) if field.kind == "name"]
    with _checked(path):
        try:
            file = _open(path, names)
        except KeyError:
            # A file of an older version lacks one of them.
            there = _open(path, []).schema_arrow.names
            file = _open(path, [name for name in names if name in there])
        with file:
            _check_metadata(path, file.metadata.metadata or {}, table)
            _check_keys(path, file.schema_arrow)
            yield file


def _open(path: Path, names: list[str]) -> Any:
    """Return a ParquetFile that reads columns of texts as dictionaries; KeyError without them."""
    return arrow("pyarrow.parquet").ParquetFile(
        path,
        read_dictionary=names,
        page_checksum_verification=True,
        thrift_string_size_limit=_THRIFT,
        thrift_container_size_limit=_THRIFT,
    )


@contextlib.contextmanager
def _checked(path: Path) -> Iterator[None]:
    pa = arrow()
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, MemoryError, *_OF_CONTENTS) as error:
        text = next(iter(str(error).splitlines()), "")
        raise PageInspectError(
            f"cannot read {printable(str(path))}: {printable(text) or type(error).__name__}",
            _DAMAGED,
        ) from None


def _check_metadata(path: Path, metadata: dict[bytes, bytes], table: str) -> None:
    if metadata.get(TABLE_KEY) != table.encode():
        raise PageInspectError(
            f"{printable(str(path))} was not written by pageinspect as a table {table}",
            "move it out of the dataset",
        )
    schema = metadata.get(SCHEMA_KEY, b"").decode("ascii", "replace")
    if schema != str(SCHEMA):
        raise PageInspectError(
            f"{printable(str(path))} was written by a newer version (schema {printable(schema)}; "
            f"this one reads {SCHEMA})",
            "pip install --upgrade pageinspect",
        )


def _check_keys(path: Path, schema: Any) -> None:
    """Raise PageInspectError unless a file has the columns `host` and `time`, of their types."""
    wanted = {field.name: arrow_field(field).type for field in KEYS}
    found = dict(zip(schema.names, schema.types, strict=True))
    for name, kind in wanted.items():
        if found.get(name) != kind:
            raise PageInspectError(f"{printable(str(path))} lacks the column {name}", _DAMAGED)


def read(path: Path, table: str, columns: Sequence[str], host: str, time: str) -> Any:
    """Return the rows of one snapshot as a pyarrow.Table with these columns.

    Columns that the file lacks are null. Raises FileNotFoundError, and PageInspectError if such a
    column cannot be null, or as opened() does.
    """
    pa, compute = arrow(), arrow("pyarrow.compute")
    key = pa.scalar(host), pa.scalar(microseconds(time), pa.timestamp("us", "UTC"))
    with opened(path, table) as file:
        there = [*dict.fromkeys((*_KEYS, *columns))]
        there = [name for name in there if name in file.schema_arrow.names]
        parts = [file.schema_arrow.empty_table().select(there)]
        for group in _groups_with(file.metadata, host, time):
            check_size(path, file.metadata, [group])
            rows = file.read_row_group(group, there)
            rows.validate(full=True)
            same = compute.equal(rows["host"].cast(pa.string()), key[0])
            rows = rows.filter(compute.and_(same, compute.equal(rows["time"], key[1])))
            parts.append(rows)
        found = pa.concat_tables(parts, promote_options="permissive")
        return complete(path, table, found, columns)


def complete(path: Path, table: str, rows: Any, columns: Sequence[str]) -> Any:
    """Return rows with these columns: what a file lacks is null.

    Raises PageInspectError if a column cannot be null, or has another type.
    """
    pa = arrow()
    fields = {field.name: field for field in fields_of(table)}
    found = []
    for name in columns:
        wanted = arrow_field(fields[name])
        if name in rows.column_names:
            column = rows.column(name)
            if column.type != wanted.type:
                column = column.cast(wanted.type)
        elif wanted.nullable:
            column = pa.chunked_array([pa.nulls(len(rows), wanted.type)])
        else:
            raise PageInspectError(
                f"{printable(str(path))} lacks the column {name}",
                "it was written by a version before the first release, or by another program: "
                "move it out of the dataset",
            )
        if column.null_count and not wanted.nullable:
            raise PageInspectError(
                f"{printable(str(path))} has a row without a value in the column {name}", _DAMAGED
            )
        found.append(column)
    return pa.Table.from_arrays(found, names=list(columns))


def check_size(path: Path, metadata: Any, groups: Sequence[int]) -> None:
    """Raise PageInspectError if these row groups are more than what is read at once."""
    of_groups = [metadata.row_group(group) for group in groups]
    rows = sum(group.num_rows for group in of_groups)
    n_bytes = sum(group.total_byte_size for group in of_groups)
    if not 0 <= rows <= _MOST_ROWS or not 0 <= n_bytes <= _MOST_BYTES:
        raise PageInspectError(
            f"{printable(str(path))} has {number(rows)} rows in {number(n_bytes)} bytes, which is "
            "more than a snapshot can have",
            _DAMAGED,
        )


def _groups_with(metadata: Any, host: str, time: str) -> Iterator[int]:
    """Yield the row groups that may have rows of a snapshot, by the index that a merge writes.

    Statistics are not used: pyarrow ends the process if those of a damaged file are asked for.
    """
    index = json.loads((metadata.metadata or {}).get(GROUPS_KEY, b"null"))
    for group in range(metadata.num_row_groups):
        if index is None:
            yield group
            continue
        first, last = index[group]
        if first <= [host, time] <= last:
            yield group


def times_of(column: Any) -> list[str]:
    """Return values of the column `time` as texts such as 20261127T201500Z."""
    import numpy as np

    seconds = column.cast(arrow().int64()).to_numpy().astype("datetime64[us]")
    texts = np.datetime_as_string(seconds, unit="s").tolist()
    return [text.replace("-", "").replace(":", "") + "Z" for text in texts]
