# SPDX-License-Identifier: GPL-2.0-only
"""DuckDB, with the committed snapshots of a dataset as its tables, and no other file in reach."""

import contextlib
import os
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

from ..dataset.files import committed
from ..errors import PageInspectError
from ..host.extras import load_library
from ..host.processes import cleanup_even_if_killed
from ..model.snapshot import HEADER, SCHEMA, TABLES, Field
from ..units import number
from .statement import check_expression, first_line, refusal

MEMORY_MIB = 1024
"""The default limit of DuckDB's memory; what does not fit is written to a temporary folder."""

_TYPES = {
    "bool": "BOOLEAN",
    "uint8": "UTINYINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "text": "VARCHAR",
    "name": "VARCHAR",
    "names": "VARCHAR[]",
    "pages by name": "MAP(VARCHAR, BIGINT)",
    "time": "TIMESTAMP WITH TIME ZONE",
}
"""DuckDB's type of each kind of column."""
_KEYS = (Field("host", "name", "The machine"), Field("time", "time", "When it was taken"))
_WALKED = "uses IS NOT NULL AND cardinality(uses) > 0"
"""SQL: whether pages were counted by use. A snapshot of typed frees alone has none."""
_BATCH = 2000
_SEEN = "docs/dataset.md describes the files that this version can read"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which snapshots count; None chooses all."""

    since: str | None = None
    """The first moment, as 20261127T201500Z."""
    host: str | None = None
    """A shell pattern that the name of the host matches."""
    where: str | None = None
    """An expression of SQL over columns of the table snapshots."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What DuckDB may use."""

    memory_mib: int = MEMORY_MIB
    threads: int = 0
    """0 is one for each CPU."""
    folder: Path | None = None
    """Where DuckDB writes what does not fit in memory; None makes such a query fail."""


class Fleet:
    """The snapshots of a dataset that were chosen.

    Tables of DuckDB: `hosts`, and those of TABLES after tables() was called for them. Files of only
    `needed` tables are listed. Access to other files and all settings are locked.
    """

    def __init__(
        self, connection: Any, dataset: Path, choice: Choice, needed: Iterable[str]
    ) -> None:
        self.connection = connection
        self.dataset = dataset
        self._choice = choice
        self._files = {
            name: committed(dataset, name, since=choice.since, host=choice.host)
            for name in sorted({HEADER, *needed})
        }
        self._defined: set[str] = set()
        self._header = "every_snapshot"
        self._choose()
        self.rows(
            "CREATE TEMP TABLE hosts AS "
            "SELECT host, max(time) FILTER (error IS NULL) AS time, count(*) AS snapshots, "
            f"count(error) AS errors, max(schema) AS schema FROM {self._header} GROUP BY host"
        )
        ((self.hosts, snapshots, errors, schema),) = self.rows(
            "SELECT count(*), sum(snapshots), sum(errors), max(schema) FROM hosts"
        )
        self.snapshots, self.errors = int(snapshots or 0), int(errors or 0)
        """All, and those that have an error in place of tables."""
        if not self.snapshots:
            raise self._nothing()
        if schema > SCHEMA:
            raise PageInspectError(
                f"{dataset} has snapshots of a newer version (schema {schema}; this one reads "
                f"{SCHEMA})",
                "pip install --upgrade pageinspect",
            )

    def rows(self, query: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query of our own. Raises PageInspectError."""
        with self._as_errors():
            return list(self.connection.execute(query, values).fetchall())

    def user_query(self, query: str, hint: str) -> Any:
        """Run a query of the user that was checked; return the cursor. Raises UsageError."""
        with self._as_errors(refusal_hint=hint):
            return self.connection.execute(query)

    def batches(self, cursor: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query as they are computed. Raises PageInspectError."""
        while True:
            with self._as_errors():
                rows = cursor.fetchmany(_BATCH)
            if not rows:
                return
            yield from rows

    def tables(self, names: Iterable[str]) -> None:
        """Define tables of TABLES, with the rows of the snapshots that were chosen."""
        for name in names:
            if name not in self._defined:
                self._define(name, self._files[name], "chosen")
                self._defined.add(name)

    def newest(self, table: str) -> None:
        """Define the newest snapshot of each host that has a table, and the table's rows of them.

        DuckDB's table `newest` has host, time, release and spanned; `newest_owners` has the rows of
        owners, and so on. Files of other days are not opened.
        """
        has = _WALKED if table == HEADER else "list_contains(tables, $name)"
        values = {} if table == HEADER else {"name": table}
        self._latest("SELECT host, time FROM hosts WHERE time IS NOT NULL")
        ((lacking,),) = self.rows(
            f"SELECT count(*) FROM newest_snapshots WHERE NOT ({has})", values
        )
        if lacking:
            self.tables([HEADER])
            self._latest(
                "SELECT host, max(time) AS time FROM snapshots "
                f"WHERE error IS NULL AND {has} GROUP BY host",
                values,
            )
        self.rows(
            "CREATE TEMP TABLE newest AS SELECT host, time, release, spanned FROM newest_snapshots"
        )
        if table != HEADER:
            self._of_latest(table)

    def _latest(self, query: str, values: dict[str, Any] | None = None) -> None:
        """Define the table `latest`, the host and time of the newest snapshots, and their rows."""
        self.rows(f"CREATE OR REPLACE TEMP TABLE latest AS {query}", values)
        self._of_latest(HEADER)

    def _of_latest(self, table: str) -> None:
        times = {text for (text,) in self.rows(f"SELECT DISTINCT {stamp('time')} FROM latest")}
        days = {time[:8] for time in times}
        files = [path for path in self._files[table] if _has(path, times, days)]
        self._define(table, files, "latest", f"newest_{table}")

    def _choose(self) -> None:
        """Make the table `chosen`; access to files is locked before the user's condition is run."""
        if not self._files[HEADER]:
            raise self._nothing()
        paths = [path for found in self._files.values() for path in found]
        with self._as_errors():
            self.connection.execute(f"SET allowed_paths={_texts(paths)}")
            self.connection.execute("SET enable_external_access=false")
            self.connection.execute("SET lock_configuration=true")
        self._define(HEADER, self._files[HEADER], "", "every_snapshot")
        conditions = []
        pattern, where = self._choice.host, self._choice.where
        if pattern is not None:
            hosts = [host for (host,) in self.rows("SELECT DISTINCT host FROM every_snapshot")]
            chosen = [host for host in hosts if fnmatchcase(host, pattern)]
            self.rows("CREATE TEMP TABLE matching AS SELECT unnest($h) AS host", {"h": chosen})
            conditions.append("host IN (SELECT host FROM matching)")
        if where is not None:
            check_expression(self.connection, where)
            conditions.append(f"({where}\n)")
        if not conditions:
            return
        self._header = "chosen"
        query = "CREATE TEMP TABLE chosen AS SELECT host, time, error, schema FROM every_snapshot"
        query += " WHERE " + " AND ".join(conditions)
        columns = ", ".join(field.name for field in TABLES[HEADER])
        with self._as_errors(refusal_hint=f"snapshots has the columns host, time, {columns}"):
            self.connection.execute(query)

    def _nothing(self) -> PageInspectError:
        if self._choice == Choice():
            hint = "pageinspect snapshot -o DATASET adds one; docs/dataset.md has the layout"
            return PageInspectError(f"{self.dataset} has no snapshots", hint)
        return PageInspectError(
            f"{self.dataset} has no snapshot that is chosen",
            f"pageinspect fleet {shlex.quote(str(self.dataset))} hosts lists all; --since, --host "
            "and --where leave some out",
        )

    @contextlib.contextmanager
    def _as_errors(self, refusal_hint: str = "") -> Iterator[None]:
        """Report an error of DuckDB in this context as one line with a hint."""
        import duckdb

        try:
            yield
        except duckdb.OutOfMemoryException as error:
            raise PageInspectError(
                f"DuckDB needs more memory: {first_line(error)}",
                "--memory MIB gives it more; --since, --host and --where choose fewer snapshots",
            ) from None
        except duckdb.IOException as error:
            raise PageInspectError(
                f"the dataset: {first_line(error)}",
                "try again when nothing merges or removes snapshots of it",
            ) from None
        except duckdb.Error as error:
            damaged = self._damaged(str(error), look=not refusal_hint)
            if damaged:
                raise _damage(self.dataset, damaged) from None
            if refusal_hint:
                raise refusal(first_line(error), refusal_hint) from None
            raise PageInspectError(f"the dataset: {first_line(error)}", _SEEN) from None

    def _damaged(self, text: str, *, look: bool) -> Path | None:
        """Return the file that a message of DuckDB names, or else with `look` one without schema.

        Some messages about damaged metadata have no path.
        """
        import duckdb

        paths = [path for found in self._files.values() for path in found]
        for path in paths:
            if any(f"{quote}{path}{quote}" in text for quote in "'\""):
                return path
        for path in paths if look else ():
            try:
                self.connection.execute(f"SELECT * FROM read_parquet({_texts([path])}) LIMIT 0")
            except duckdb.Error:
                return path
        return None

    def _define(self, table: str, files: Sequence[Path], within: str, name: str = "") -> None:
        """Define a view of the rows of files that belong to snapshots of the table `within`.

        Columns that no file has are null. Only columns that a query names are read.
        """
        source = f"read_parquet({_texts(files)}, union_by_name=true, hive_partitioning=false)"
        there = self._columns(source) if files else set()
        fields = [
            f'"{f.name}"' if f.name in there else f'NULL::{_TYPES[f.kind]} AS "{f.name}"'
            for f in (*_KEYS, *TABLES[table])
        ]
        query = f"SELECT {', '.join(fields)}"
        query += f" FROM {source}" if files else " WHERE false"
        if files and within and (within == "latest" or self._header == "chosen"):
            query += f" SEMI JOIN {within} USING (host, time)"
        if files and self._choice.since:
            query += f" WHERE time >= {_moment(self._choice.since)}"
        self.rows(f"CREATE OR REPLACE TEMP VIEW {name or table} AS {query}")

    def _columns(self, source: str) -> set[str]:
        """Return the columns that the files have, as their metadata says, which DuckDB keeps."""
        with self._as_errors():
            found = self.connection.execute(f"SELECT * FROM {source} LIMIT 0").description
        return {column[0] for column in found}


engine = partial(load_library, "duckdb", "fleet")
"""Returns the module of DuckDB. Raises PageInspectError if it is not installed."""


@contextlib.contextmanager
def opened(
    dataset: Path,
    choice: Choice | None = None,
    limits: Limits | None = None,
    needed: Iterable[str] = tuple(TABLES),
) -> Iterator[Fleet]:
    """Give the Fleet of a dataset, with the tables that are needed.

    Raises PageInspectError if DuckDB is not installed, or if the dataset has no snapshot that is
    chosen or is of a newer version, and UsageError for a wrong expression.
    """
    limits = limits or Limits()
    connection = engine().connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
            "preserve_insertion_order": False,
            "memory_limit": f"{limits.memory_mib}MiB",
            "threads": limits.threads or len(os.sched_getaffinity(0)),
            "temp_directory": str(limits.folder or ""),
        },
    )
    with contextlib.closing(connection):
        connection.execute("SET TimeZone='UTC'")
        connection.execute("SET enable_progress_bar=false")
        connection.execute("SET parquet_metadata_cache=true")
        yield Fleet(connection, dataset, choice or Choice(), needed)


@contextlib.contextmanager
def spill_folder() -> Iterator[Path]:
    """Give a new folder for Limits, which is removed even if this process is killed."""
    folder = Path(tempfile.mkdtemp(prefix="pageinspect-fleet-"))
    with cleanup_even_if_killed(partial(rmtree, folder, ignore_errors=True)):
        yield folder


def _has(path: Path, times: set[str], days: set[str]) -> bool:
    """Return whether a file may have rows of snapshots of these times."""
    key, _, value = path.parent.name.partition("=")
    return value in (days if key == "day" else times)


def _damage(dataset: Path, path: Path) -> PageInspectError:
    """Return the error for a file that DuckDB cannot read."""
    folder = dataset.joinpath(HEADER, *path.relative_to(dataset).parts[1:-1])
    return PageInspectError(
        f"{path} is damaged or is not a Parquet file",
        f"move {folder} out of the dataset: its snapshots do not count then",
    )


def stamp(column: str) -> str:
    """Return SQL for a time as in names of folders."""
    return f"strftime(make_timestamp(epoch_us({column})), '%Y%m%dT%H%M%SZ')"


def _moment(text: str) -> str:
    """Return SQL for a time such as 20261127T201500Z."""
    day, clock = f"{text[:4]}-{text[4:6]}-{text[6:8]}", f"{text[9:11]}:{text[11:13]}:{text[13:15]}"
    return f"'{day} {clock}+00'::TIMESTAMP WITH TIME ZONE"


def _texts(paths: Sequence[Path]) -> str:
    """Return a list of SQL with paths as texts."""
    quoted = ("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"[{', '.join(quoted)}]"


def cut(rows: list[tuple[Any, ...]], top: int) -> tuple[list[tuple[Any, ...]], str]:
    """Return the first `top` rows, 0 for all, and a sentence on those that are left out."""
    left = len(rows) - top if top else 0
    if left <= 0:
        return rows, ""
    return rows[:top], f"{number(left)} more: --top 0 shows all."
