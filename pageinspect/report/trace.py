"""Typed frees: pages that reached the buddy allocator with a page type set."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ..layout import PageLayout
from ..target import Provenance
from ..units import number, printable, size
from .base import SCHEMA, Cell, Column, Table, kernel_json

if TYPE_CHECKING:
    from ..trace.program import Counts
    from ..trace.session import Reading


@dataclass(frozen=True, slots=True)
class Frees:
    """Frees by order: `of_order[order]` frees of 1 << order pages each."""

    of_order: tuple[int, ...] = ()

    @property
    def frees(self) -> int:
        """Calls of the allocator's free path."""
        return sum(self.of_order)

    @property
    def pages(self) -> int:
        """Pages freed by them."""
        return sum(frees << order for order, frees in enumerate(self.of_order))

    @property
    def by_order(self) -> dict[int, int]:
        """Frees of each order that has any."""
        return {order: frees for order, frees in enumerate(self.of_order) if frees}

    def __add__(self, other: "Frees") -> "Frees":
        longest = max(len(self.of_order), len(other.of_order))
        padded = ((*f.of_order, *[0] * (longest - len(f.of_order))) for f in (self, other))
        return Frees(tuple(a + b for a, b in zip(*padded, strict=True)))

    def to_json(self) -> dict[str, int]:
        """Return the JSON form."""
        return {"frees": self.frees, "pages": self.pages}

    def cells(self, page_size: int) -> tuple[Cell, ...]:
        """Return the cells that every row of the table has: frees, pages, bytes, orders."""
        orders = " ".join(f"{order}:{frees}" for order, frees in self.by_order.items())
        return (self.frees, self.pages, self.pages * page_size, orders)


@dataclass(frozen=True, slots=True)
class TypeFrees:
    """Frees of pages with one type set; a set of types, as `table+kmemcg`, is one as well."""

    type_name: str
    expected: bool
    """The type's owner leaves it set and this kernel's allocator resets it."""
    frees: Frees


@dataclass(frozen=True, slots=True)
class Lost:
    """Frees that happened but are in no count."""

    unread: int
    missed: int

    @property
    def events(self) -> int:
        """All of them."""
        return self.unread + self.missed


def _type_frees(
    layout: PageLayout, counts: "Counts", chosen: frozenset[str] | None
) -> tuple[tuple[TypeFrees, ...], Frees]:
    """Return the frees of the chosen types (None: all), most pages first, and those of the rest."""
    scheme = layout.scheme
    by_name: dict[str, Frees] = {}
    rest = Frees()
    if chosen is not None:
        by_name = {t.name: Frees() for t in scheme.types if t.name in chosen}
    for slot, of_order in enumerate(counts.typed.tolist()):
        if not any(of_order):
            continue
        frees = Frees(tuple(of_order))
        name = scheme.slot_name(slot)
        if chosen is None or not chosen.isdisjoint(name.split("+")):
            by_name[name] = by_name.get(name, Frees()) + frees
        else:
            rest += frees
    rows = [TypeFrees(name, layout.is_sticky(name), frees) for name, frees in by_name.items()]
    return tuple(sorted(rows, key=lambda row: (-row.frees.pages, row.type_name))), rest


@dataclass(frozen=True, slots=True)
class TraceReport:
    """What was freed in one stretch of a run; times are nanoseconds since tracing began."""

    provenance: Provenance
    layout: PageLayout
    start_ns: int
    end_ns: int
    typed: tuple[TypeFrees, ...]
    others: Frees | None
    """Of types that were not asked for; None when all were."""
    untyped: Frees
    lost: Lost
    command_status: int | None
    interval: bool
    """One stretch of several, not a whole run."""

    @classmethod
    def of(
        cls,
        provenance: Provenance,
        layout: PageLayout,
        reading: "Reading",
        *,
        types: Iterable[str] | None = None,
        interval: bool = False,
    ) -> Self:
        """Return the report of a reading; `types` are the names asked for, None for all."""
        counts = reading.counts
        chosen = None if types is None else frozenset(types)
        typed, rest = _type_frees(layout, counts, chosen)
        return cls(
            provenance,
            layout,
            reading.start_ns,
            reading.end_ns,
            typed,
            None if chosen is None else rest,
            Frees(tuple(counts.untyped.tolist())),
            Lost(counts.unread, counts.missed),
            reading.command_status,
            interval,
        )

    @property
    def duration_ns(self) -> int:
        """How long this stretch was."""
        return self.end_ns - self.start_ns

    @property
    def total(self) -> Frees:
        """All frees that were counted."""
        return sum((row.frees for row in self.typed), self.untyped + (self.others or Frees()))

    @property
    def unexpected(self) -> tuple[TypeFrees, ...]:
        """The rows that no owner's habit explains."""
        return tuple(row for row in self.typed if row.frees.frees and not row.expected)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        times = {"start_ns": self.start_ns, "end_ns": self.end_ns} if self.interval else {}
        others = {} if self.others is None else {"others": self.others.to_json()}
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "duration_ns": self.duration_ns,
            **times,
            "events": self.total.frees,
            "lost": self.lost.events,
            "command_status": self.command_status,
            "typed": [
                {
                    "type": printable(row.type_name),
                    **row.frees.to_json(),
                    "expected": row.expected,
                    "orders": {str(o): frees for o, frees in row.frees.by_order.items()},
                }
                for row in self.typed
            ],
            **others,
            "untyped": self.untyped.to_json(),
        }

    def to_table(self) -> Table:
        """Return the tabular form."""
        page_size = self.layout.page_size
        rows: list[tuple[Cell, ...]] = [
            (row.type_name, *row.frees.cells(page_size), _verdict(row)) for row in self.typed
        ]
        if self.others is not None:
            rows.append(("other types", *self.others.cells(page_size), None))
        rows.append(("untyped", *self.untyped.cells(page_size), None))
        total: tuple[Cell, ...] = ("total", *self.total.cells(page_size), None)
        lost: tuple[Cell, ...] = ("lost", self.lost.events, None, None, None, None)
        columns: tuple[Column, ...] = _COLUMNS
        if self.interval:
            times = (self.start_ns, self.end_ns)
            columns = (_START, _END, *columns)
            rows = [(*times, *row) for row in rows]
            total, lost = (*times, *total), (*times, *lost)
        return Table(
            columns,
            rows,
            total=total,
            before=self._before(),
            after=self._after(),
            machines=Table(columns, [*rows, lost]),
        )

    def _before(self) -> tuple[str, ...]:
        if self.start_ns:
            return ("",)
        span = "each interval" if self.interval else _seconds(self.duration_ns)
        return (self.provenance.describe(), f"Pages freed in {span}. {self._meaning()}", "")

    def _meaning(self) -> str:
        """Return what a typed free means on this kernel."""
        learnt = self.layout.resets_from
        if self.layout.resets:
            sticky = [t.name for t in self.layout.scheme.types if self.layout.is_sticky(t.name)]
            return (
                f"This kernel's buddy allocator resets a type that is still set ({learnt}): typed "
                f"frees of {' and '.join(sticky)} are expected, for their owners rely on it."
            )
        return (
            f"This kernel's buddy allocator does not reset types ({learnt}): "
            "a page freed with one is a bad page, where the kernel checks pages."
        )

    def _after(self) -> tuple[str, ...]:
        lines = [""]
        if not any(row.frees.frees for row in self.typed):
            lines.append(f"No page was freed with {self._asked()} set.")
        if self.unexpected:
            names = ", ".join(row.type_name for row in self.unexpected)
            lines.append(f"Not expected: {names}. The owner clears this type before a free.")
        if self.lost.events:
            lines.append(
                f"Lost: {number(self.lost.events)} frees are in no count "
                f"({number(self.lost.missed)} in interrupts of the tracer, "
                f"{number(self.lost.unread)} unreadable)."
            )
        if self.command_status:
            lines.append(f"The command ended with status {self.command_status}.")
        return tuple(lines) if len(lines) > 1 else ()

    def _asked(self) -> str:
        if self.others is None:
            return "a page type"
        return "the type " + " or ".join(row.type_name for row in self.typed)


_COLUMNS = (
    Column("type"),
    Column("frees", number, "right", spare=True),
    Column("pages", number, "right"),
    Column("size", size, "right", key="bytes", spare=True),
    Column("order:frees", key="orders"),
    Column("typed free", key="verdict"),
)


def _verdict(row: TypeFrees) -> str | None:
    if not row.frees.frees:
        return None
    return "expected" if row.expected else "UNEXPECTED"


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:.2f} s"


_START = Column("from", key="start_ns", machines=True)
_END = Column("at", _seconds, "right", key="end_ns")
