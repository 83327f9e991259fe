"""What rules and columns read of struct page: declared in one place, and enforced.

A Read is some bits of one word of struct page. A rule or a column declares its Reads and the other
columns that it uses: it gets these bits alone, and anything else is refused. How memory is cut into
runs follows from the declarations (`compared`), and so do docs/uses.md and `page --explain`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, overload

from ..errors import PageInspectError
from ..model.batch import Words
from ..model.layout import PageLayout

T = TypeVar("T")
Of = Literal["page", "folio"]

ALL = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Bits:
    """Bits of the 64-bit word at byte `offset` from a struct page; the offset is a multiple of 8.

    Words beyond the struct page lie in a first tail: pages without PG_head have none, they read 0.
    """

    offset: int
    mask: int = ALL
    equals: int | None = None
    """Where set, all that is read is whether the bits are this."""
    only: Literal["", "tails", "blocks"] = ""
    """Read of all pages; of tails, of which other pages read 0; or of pages that begin a block."""

    @property
    def missing(self) -> bool:
        """Whether this kernel's struct page has no such word."""
        return not self.mask


NOWHERE = Bits(0, 0, 1)
"""What is read of a word that this kernel's struct page lacks: 0, and it equals nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Read(Generic[T]):
    """Something that is read of struct page: `what` of the `word`, of the page or its folio."""

    word: str
    what: str
    find: Callable[[PageLayout], tuple[Bits, ...]]
    """Returns the bits on which the value depends, all in one word."""
    value: Callable[[PageLayout, Bits, Words], T]
    """Returns the values, from the 64-bit words and the first of the bits."""
    of: Of = "page"

    def __str__(self) -> str:
        what = f" ({self.what})" if self.what else ""
        return f"{self.word}{' of the head' if self.of == 'folio' else ''}{what}"


class Places:
    """Where each Read is in the struct page of one kernel: found once."""

    def __init__(self, layout: PageLayout) -> None:
        self.layout = layout
        self._found: dict[Read[Any], tuple[Bits, ...]] = {}

    def __getitem__(self, read: Read[Any]) -> tuple[Bits, ...]:
        if read not in self._found:
            self._found[read] = read.find(self.layout)
        return self._found[read]


# --- who reads


class UndeclaredError(PageInspectError):
    """Something is read of struct page that whoever reads it has not declared."""


class Scope(Protocol):
    """What may be read at the moment; both methods raise UndeclaredError for anything else."""

    def check(self, asked: "Declared") -> None:
        """Check a Read or a column."""

    def check_word(self, offset: int) -> None:
        """Check all of the 64-bit word at byte `offset` from a struct page."""


class Scoped:
    """What has columns: keeps what is known of them, and refuses what was not declared."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope
        """None where everything may be read."""
        self.known: dict[Column[Any], Any] = {}


class Declaring:
    """A rule or a column: computes something from what it declares alone."""

    __slots__ = ()
    compute: Callable[[Any], Any]
    reads: "tuple[Declared, ...]"

    def computed(self, pages: Scoped) -> Any:
        """Return what it says of these pages."""
        before, pages.scope = pages.scope, self
        try:
            return self.compute(pages)
        finally:
            pages.scope = before

    def check(self, asked: "Declared") -> None:
        """Refuse a Read or a column that is not declared."""
        if asked not in self.reads:
            self._refuse(str(asked))

    def check_word(self, offset: int) -> None:
        """Refuse a word: none is declared by its place."""
        self._refuse(f"the word {offset} bytes into struct page")

    def _refuse(self, what: str) -> None:
        raise UndeclaredError(
            f"{self} reads {what}, which it does not declare", "add it to its `reads`"
        )


class Column(Declaring, Generic[T]):
    """A column: computed when it is first asked for."""

    def __init__(self, compute: Callable[[Any], T], reads: "tuple[Declared, ...]") -> None:
        self.compute = compute
        self.reads = reads
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    def __str__(self) -> str:
        return f"the column `{self.name}`"

    @overload
    def __get__(self, pages: None, owner: type) -> "Column[T]": ...
    @overload
    def __get__(self, pages: Scoped, owner: type) -> T: ...
    def __get__(self, pages: Scoped | None, owner: type) -> "Column[T] | T":
        if pages is None:
            return self
        scope, known = pages.scope, pages.known
        if scope is not None:
            scope.check(self)
        if self not in known:
            known[self] = self.computed(pages)
        value: T = known[self]
        return value


Declared = Read[Any] | Column[Any]


class _RuleColumn(Column[T]):
    """A column that reads what rules do."""

    def __init__(
        self, compute: Callable[[Any], T], rules: Callable[[], Iterable[Declaring]]
    ) -> None:
        self._rules = rules
        super().__init__(compute, ())

    @property
    def reads(self) -> tuple[Declared, ...]:
        return tuple(read for rule in self._rules() for read in rule.reads)

    @reads.setter
    def reads(self, _none: tuple[Declared, ...]) -> None:
        """Leave it to the rules."""


def column(*reads: Declared) -> Callable[[Callable[[Any], T]], Column[T]]:
    """Return the decorator of a column that reads this."""
    return lambda compute: Column(compute, reads)


def column_of(
    rules: Callable[[], Iterable[Declaring]],
) -> Callable[[Callable[[Any], T]], Column[T]]:
    """Return the decorator of a column that reads what some rules do."""
    return lambda compute: _RuleColumn(compute, rules)


def reads_of(declared: Iterable[Declared]) -> tuple[Read[Any], ...]:
    """Return each Read that is declared, itself or by the columns that are."""
    return tuple(dict.fromkeys(_reads(declared, set())))


def _reads(declared: Iterable[Declared], seen: set[Declared]) -> Iterator[Read[Any]]:
    for item in declared:
        if isinstance(item, Read):
            yield item
        elif item not in seen:
            seen.add(item)
            yield from _reads(item.reads, seen)


# --- how pages are compared


@dataclass(frozen=True, slots=True)
class Compared:
    """How the word at byte `offset` tells pages apart: by the bits of `mask`, and by `tests`."""

    offset: int
    mask: int
    tests: tuple[Bits, ...]
    """Of which the outcome matters, or what tails have, where `mask` does not tell that."""


def compared(places: Places, declared: Iterable[Declared]) -> tuple[Compared, ...]:
    """Return what tells pages apart for all that is declared, a word each.

    Left out is what is read of pages alone that are runs by themselves: the words of first tails,
    of heads, and those of pages that begin a free block.
    """
    found: dict[int, list[Bits]] = {}
    for read in reads_of(declared):
        for part in places[read]:
            if not _is_alone(part, places.layout):
                found.setdefault(part.offset, []).append(part)
    return tuple(_merged(offset, parts) for offset, parts in sorted(found.items()))


def _is_alone(part: Bits, layout: PageLayout) -> bool:
    """Return whether only pages that are runs by themselves have these bits, or none has."""
    return part.missing or part.offset >= layout.struct_size or part.only == "blocks"


def _merged(offset: int, parts: list[Bits]) -> Compared:
    mask = 0
    for part in parts:
        if not part.only and (part.equals is None or part.mask.bit_count() == 1):
            mask |= part.mask
    return Compared(offset, mask, tuple(dict.fromkeys(p for p in parts if p.mask & ~mask)))


class RunScope:
    """The Scope of runs: what all pages of a run agree in."""

    def __init__(self, what: str, places: Places, comparisons: Iterable[Compared]) -> None:
        self.places = places
        self._what = what
        self._compared = {c.offset: c for c in comparisons}
        self._alike: dict[Declared, bool] = {}

    def check(self, asked: Declared) -> None:
        """Refuse a Read or a column in which pages of a run may differ."""
        if asked not in self._alike:
            parts = [part for read in reads_of([asked]) for part in self.places[read]]
            self._alike[asked] = all(map(self._is_alike, parts))
        if not self._alike[asked]:
            self._refuse(str(asked))

    def check_word(self, offset: int) -> None:
        """Refuse a word in which pages of a run may differ."""
        known = self._compared.get(offset - offset % 8)
        if known is None or known.mask != ALL:
            self._refuse(f"the word {offset} bytes into struct page")

    def _is_alike(self, part: Bits) -> bool:
        if _is_alone(part, self.places.layout):
            return True
        known = self._compared.get(part.offset)
        return known is not None and (not part.mask & ~known.mask or part in known.tests)

    def _refuse(self, what: str) -> None:
        raise UndeclaredError(
            f"pages of {self._what} may differ in {what}",
            'ask for runs with the detail "all", or for pages()',
        )
