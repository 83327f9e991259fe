# SPDX-License-Identifier: GPL-2.0-only
"""A snapshot: the state of a machine's memory at one moment, as tables that need no kernel.

Every table of a dataset and every column is described here: what writes, reads, compares and
documents snapshots is made from this description.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    # Readers of the description alone do without.
    import numpy as np
    import numpy.typing as npt

SCHEMA = 1
"""Version of the tables. Columns are added without a new version, and never renamed or removed."""

Kind = Literal[
    "bool",
    "uint8",
    "int32",
    "int64",
    "float64",
    "text",
    "name",
    "names",
    "pages by name",
    "time",
]
"""The type of a column. Values of "name" repeat often; "names" is a list of texts; "pages by name"
is a map from text to int64; "time" is in microseconds since 1970, UTC."""

_NUMPY: Mapping[Kind, str] = {
    "bool": "bool",
    "uint8": "uint8",
    "int32": "int32",
    "int64": "int64",
    "float64": "float64",
    "time": "int64",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a table of snapshots."""

    name: str
    kind: Kind
    meaning: str
    """A sentence for docs, without a full stop."""
    unit: Literal["", "pages", "bytes", "pfn"] = ""
    absent: str = ""
    """When a value is null; empty if it never is."""


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """Texts of many rows: row i has values[codes[i]]; a negative code is null."""

    codes: "npt.NDArray[np.int32]"
    values: tuple[str, ...]
    """Untrusted text. A value may occur twice."""

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def of(cls, texts: Iterable[str | None]) -> "Names":
        """Return the Names of these rows."""
        import numpy as np

        numbers: dict[str, int] = {}
        codes = [-1 if t is None else numbers.setdefault(t, len(numbers)) for t in texts]
        return cls(np.array(codes, np.int32), tuple(numbers))

    def where(self, rows: Any) -> "Names":
        """Return some of the rows: what an index of a numpy array selects."""
        return Names(self.codes[rows], self.values)

    def tolist(self) -> list[str | None]:
        """Return the text of each row."""
        return [None if code < 0 else self.values[code] for code in self.codes.tolist()]


Values: TypeAlias = "npt.NDArray[Any] | Names | Sequence[Any]"
"""The values of a column: Names for "name", a sequence for "text", "names" and "pages by name",
where None is null, and an array for other kinds. An array that may be null is a masked array."""

_PFN = Field("pfn", "int64", "First pfn", "pfn")
_PAGES = Field("pages", "int64", "Number of pages", "pages")
_ZONE = Field("zone", "name", "Name of the zone", absent="struct page could not be read")
_NODE = Field("node", "int32", "NUMA node", absent="struct page could not be read")
_MIGRATETYPE = Field(
    "migratetype",
    "name",
    "Migratetype of the pageblock, as in /proc/pagetypeinfo",
    absent="the kernel's pageblock flags could not be read",
)
_NO_COUNTER = "the kernel's counter could not be read, or this kernel has none"
_NO_TABLES = "none of its page tables could be read"

HEADER = "snapshots"
"""The table with one row per snapshot. It is written last: a snapshot without it does not count."""

TABLES: Mapping[str, tuple[Field, ...]] = {
    HEADER: (
        Field("taken", "time", "When memory was read; of a core, when the kernel crashed"),
        Field("release", "name", "The kernel's release, as uname -r prints it"),
        Field("boot_id", "text", "The kernel's random boot id", absent="it could not be read"),
        Field("boot_time", "time", "When the kernel was booted", absent="it could not be read"),
        Field("source", "name", "live, core or qemu"),
        Field("symbols", "name", "Source of types: btf, dwarf or vmcoreinfo"),
        Field("page_size", "int64", "Size of a page", "bytes"),
        Field("spanned", "int64", "Pages that have a struct page in use", "pages"),
        Field("unreadable", "int64", "Pages whose struct page could not be read", "pages"),
        Field("uses", "pages by name", "Pages by use: those of the runs, in all", "pages"),
        Field("missing", "names", "Sentences on what is missing or could not be read"),
        Field("tables", "names", "The tables that this snapshot has"),
        Field("kernel", "text", "Names and numbers of this kernel that reports need, as JSON"),
        Field("error", "text", "Why the kernel could not be read", absent="it could be read"),
        Field("version", "name", "Version of pageinspect"),
        Field("schema", "int32", "Version of the tables"),
    ),
    "runs": (
        _PFN,
        _PAGES,
        Field("folios", "int64", "Folios and free blocks that begin in the run"),
        Field("use", "name", "The use of the pages"),
        Field("type", "name", "The page type; untyped without one"),
        Field(
            "untyped",
            "name",
            "What the page_type word of untyped pages has: mapped, reset, movable_ops or odd",
            absent="the pages have a type",
        ),
        Field("order", "uint8", "Order of the folio or free block"),
        _ZONE,
        _NODE,
        _MIGRATETYPE,
        Field("freeing", "bool", "Whether the pages are being freed with a type set"),
        Field(
            "mobility",
            "name",
            "free, movable, reclaimable, unmovable or reserved, as contiguity has it",
            absent="the kernel's types were not available",
        ),
        Field("remedy", "name", "What could make the pages free; empty if nothing is known"),
        Field("owner", "int32", "The `id` of the owner in the table owners"),
    ),
    "owners": (
        Field("id", "int32", "Number of the owner within its snapshot"),
        Field("kind", "name", "Kind of owner"),
        Field("name", "name", "Name of the owner; empty if it has none"),
        Field("caller", "name", "The function that allocated the memory", absent="not known"),
        Field("filesystem", "name", "Of a file: its file system and device", absent="not a file"),
        _PAGES,
        Field(
            "reserved",
            "int64",
            "Of free huge pages: those that are reserved",
            "pages",
            absent="not free huge pages",
        ),
    ),
    "processes": (
        Field("pid", "int32", "Process id"),
        Field("comm", "text", "Name of the process"),
        Field("cgroup", "name", "Path of its cgroup", absent="it could not be read"),
        Field("mm", "int32", "Number of the address space; processes that share one have the same"),
        Field("exe", "name", "Path of the program; empty if it is not known"),
        *(
            Field(name, "int64", meaning, "bytes", absent=_NO_TABLES)
            for name, meaning in (
                ("rss", "Resident memory"),
                ("pss", "Resident memory, shared pages in proportion"),
                ("uss", "Resident memory that no other process maps"),
                ("anon", "Anonymous memory"),
                ("file", "Pages of files"),
                ("shmem", "Shared memory and tmpfs"),
                ("swap", "Swapped out"),
                ("huge", "Mapped by huge entries"),
                ("tables", "Page tables"),
                ("hugetlb", "Pages of hugetlbfs"),
            )
        ),
        Field("complete", "bool", "Whether all of its page tables could be read"),
        *(
            Field(f"kernel_{name}", "int64", meaning, "bytes", absent=_NO_COUNTER)
            for name, meaning in (
                ("anon", "The kernel's own counter MM_ANONPAGES"),
                ("file", "The kernel's own counter MM_FILEPAGES"),
                ("shmem", "The kernel's own counter MM_SHMEMPAGES"),
                ("swap", "The kernel's own counter MM_SWAPENTS"),
                ("tables", "The kernel's own counter of page tables"),
                ("hugetlb", "The kernel's own counter of hugetlb pages"),
            )
        ),
    ),
    "counters": (
        Field("report", "name", "What the totals are by: type, use or owner"),
        Field("name", "name", "Name of the check"),
        Field("uses", "names", "The uses or kinds of owner that are added up"),
        Field("counter", "name", "The kernel's counter, or how it is computed"),
        Field("counted", "int64", "The total of the walk", "pages"),
        Field("before", "int64", "The kernel's counter before the walk", "pages"),
        Field("kernel", "int64", "The kernel's counter after the walk", "pages"),
        Field("verdict", "name", "verified, explained or differs"),
        Field("why", "text", "The reason of the verdict"),
    ),
    "blocks": (
        _PFN,
        _ZONE,
        _NODE,
        _MIGRATETYPE,
        _PAGES,
        *(
            Field(name, "int32", f"Pages that are {name}", "pages")
            for name in ("free", "movable", "reclaimable", "unmovable", "reserved")
        ),
        Field("uses", "pages by name", "Pages by use", "pages"),
    ),
    "cgroups": (
        Field("cgroup", "name", "Path of the cgroup"),
        Field("kind", "name", "Kind of owner"),
        _PAGES,
        Field("bytes", "int64", "Size; of slabs that of the charged objects", "bytes"),
    ),
    "frees": (
        Field("type", "name", "Page type at the time of the free"),
        Field("caller", "name", "The function that freed the pages", absent="not counted"),
        Field("frees", "int64", "Calls of free_pages_prepare()"),
        _PAGES,
        Field("expected", "bool", "Whether the type is left set by its owner on purpose"),
        Field("disallowed", "bool", "Whether the type is one that must not be freed"),
        Field("seconds", "float64", "Length of the time in which frees were counted"),
    ),
}
"""The tables of a snapshot. In a dataset each has the columns `host` and `time` as well."""


class SnapshotTable:
    """The columns of one table."""

    def __init__(self, name: str, columns: Mapping[str, Values]) -> None:
        """`columns` are in any order. Raises ValueError if one is missing, or lengths differ."""
        self.name = name
        self.columns = {f.name: columns[f.name] for f in TABLES[name] if f.name in columns}
        missing = [f.name for f in TABLES[name] if f.name not in columns]
        if missing or len({len(column) for column in self.columns.values()}) > 1:
            raise ValueError(f"table {name}: {', '.join(missing) or 'lengths'}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    @classmethod
    def of_rows(cls, name: str, rows: Iterable[Sequence[Any]]) -> "SnapshotTable":
        """Return a table of rows, whose values are in the order of TABLES[name]; None is null."""
        fields = TABLES[name]
        columns = list(zip(*rows, strict=True)) or [()] * len(fields)
        return cls(name, {f.name: _values(f, c) for f, c in zip(fields, columns, strict=True)})


def _values(wanted: Field, texts: Sequence[Any]) -> Values:
    import numpy as np

    if wanted.kind == "name":
        return Names.of(texts)
    dtype = _NUMPY.get(wanted.kind)
    if dtype is None:
        return texts
    if not wanted.absent:
        return np.array(texts, dtype)
    mask = [value is None for value in texts]
    return np.ma.MaskedArray(np.array([value or 0 for value in texts], dtype), mask)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tables of one snapshot, with the machine and the moment."""

    host: str
    """Untrusted text."""
    time: str
    """UTC, as 20261127T201500Z."""
    tables: Mapping[str, SnapshotTable] = field(default_factory=dict)
    """By name. `snapshots` has one row; other tables may be missing."""

    def having(self, *tables: SnapshotTable) -> "Snapshot":
        """Return the snapshot with more tables, or with other ones of the same names."""
        every = {**self.tables, **{table.name: table for table in tables}}
        names = [name for name in TABLES if name in every and name != HEADER]
        header = {**every[HEADER].columns, "tables": [names]}
        return replace(self, tables={**every, HEADER: SnapshotTable(HEADER, header)})

    def header(self, name: str) -> Any:
        """Return a value of the table snapshots; null is None."""
        import numpy as np

        column = self.tables[HEADER][name]
        if isinstance(column, Names):
            return column.tolist()[0]
        value = column[0]
        if value is np.ma.masked:
            return None
        return value.item() if isinstance(value, np.generic) else value
