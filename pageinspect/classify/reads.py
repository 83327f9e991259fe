# SPDX-License-Identifier: GPL-2.0-only
"""Declares what rules and columns read of struct page, and refuses other reads.

A Read is some bits of one word of struct page. A rule or a column declares its Reads and the other
columns that it uses. It can read only these; any other read raises UndeclaredError. The
declarations decide how memory is cut into runs (`compared`), and docs/uses.md and `page --explain`
are made from them.
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

    An offset beyond the struct page is in the first tail; pages without PG_head read 0 there.
    """

    offset: int
    mask: int = ALL
    equals: int | None = None
    """If set, only whether the bits have this value is read."""
    only: Literal["", "tails", "blocks"] = ""
    """Pages that have these bits: all; only tails (others read 0); only first pages of blocks."""

    @property
    def missing(self) -> bool:
        """Whether struct page of this kernel lacks the word."""
        return not self.mask


NOWHERE = Bits(0, 0, 1)
"""The bits of a word that this kernel's struct page lacks: they read 0, and equal no value."""


@dataclass(frozen=True, slots=True, eq=False)
class Read(Generic[T]):
    """A value in struct page: `what` of the `word`, of the page or of its folio's head."""

    word: str
    what: str
    find: Callable[[PageLayout], tuple[Bits, ...]]
    """Returns the bits that the value depends on, all in one word."""
    value: Callable[[PageLayout, Bits, Words], T]
    """Returns the values from the layout, the first of the bits, and the 64-bit words."""
    of: Of = "page"

    def __str__(self) -> str:
        what = f" ({self.what})" if self.what else ""
        return f"{self.word}{' of the head' if self.of == 'folio' else ''}{what}"


class Places:
    """The bits of each Read in the struct page of one kernel; each is looked up once."""

    def __init__(self, layout: PageLayout) -> None:
        self.layout = layout
        self._found: dict[Read[Any], tuple[Bits, ...]] = {}

    def __getitem__(self, read: Read[Any]) -> tuple[Bits, ...]:
        if read not in self._found:
            self._found[read] = read.find(self.layout)
        return self._found[read]


# --- rules and columns: what may read


class UndeclaredError(PageInspectError):
    """A rule or a column reads something that it does not declare."""


class Scope(Protocol):
    """Decides what may be read at the moment; both methods raise UndeclaredError to refuse."""

    def check(self, asked: "Declared") -> None:
        """Raise UndeclaredError if this Read or column may not be read."""

    def check_word(self, offset: int) -> None:
        """Raise UndeclaredError if the 64-bit word at byte `offset` may not be read as a whole."""


class Scoped:
    """Base of objects with columns: caches their values, and refuses undeclared reads."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope
        """None: everything may be read."""
        self.known: dict[DeclaredColumn[Any], Any] = {}


class Declaring:
    """A rule or a column: computes a value from only what it declares."""

    __slots__ = ()
    compute: Callable[[Any], Any]
    reads: "tuple[Declared, ...]"

    def computed(self, pages: Scoped) -> Any:
        """Return the value for these pages; raises UndeclaredError for an undeclared read."""
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
        """Refuse a word: Reads are declared by name, not by offset."""
        self._refuse(f"the word {offset} bytes into struct page")

    def _refuse(self, what: str) -> None:
        raise UndeclaredError(
            f"{self} reads {what}, which it does not declare", "add it to its `reads`"
        )


class DeclaredColumn(Declaring, Generic[T]):
    """A column: computed when it is first read, then cached."""

    def __init__(self, compute: Callable[[Any], T], reads: "tuple[Declared, ...]") -> None:
        self.compute = compute
        self.reads = reads
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    def __str__(self) -> str:
        return f"the column `{self.name}`"

    @overload
    def __get__(self, pages: None, owner: type) -> "DeclaredColumn[T]": ...
    @overload
    def __get__(self, pages: Scoped, owner: type) -> T: ...
    def __get__(self, pages: Scoped | None, owner: type) -> "DeclaredColumn[T] | T":
        if pages is None:
            return self
        scope, known = pages.scope, pages.known
        if scope is not None:
            scope.check(self)
        if self not in known:
            known[self] = self.computed(pages)
        value: T = known[self]
        return value


Declared = Read[Any] | DeclaredColumn[Any]


class _RuleColumn(DeclaredColumn[T]):
    """A column that declares what its rules declare."""

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
        """Do nothing: the reads are those of the rules."""


def column(*reads: Declared) -> Callable[[Callable[[Any], T]], DeclaredColumn[T]]:
    """Return the decorator for a column with these declarations."""
    return lambda compute: DeclaredColumn(compute, reads)


def column_of(
    rules: Callable[[], Iterable[Declaring]],
) -> Callable[[Callable[[Any], T]], DeclaredColumn[T]]:
    """Return the decorator for a column that declares what these rules declare."""
    return lambda compute: _RuleColumn(compute, rules)


def reads_of(declared: Iterable[Declared]) -> tuple[Read[Any], ...]:
    """Return each Read that is declared, directly or through the declared columns."""
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
    """How the words at byte `offset` of two pages are compared: the bits of `mask`, and `tests`."""

    offset: int
    mask: int
    tests: tuple[Bits, ...]
    """Bits outside `mask` of which only a result is compared: of a test, or the value in tails."""


def compared(places: Places, declared: Iterable[Declared]) -> tuple[Compared, ...]:
    """Return the comparisons that separate pages which differ in a declared read, one per word.

    Reads of pages that are always runs of their own need no comparison: words of the first tail
    (read of heads), and words of first pages of free blocks.
    """
    found: dict[int, list[Bits]] = {}
    for read in reads_of(declared):
        for part in places[read]:
            if not _is_alone(part, places.layout):
                found.setdefault(part.offset, []).append(part)
    return tuple(_merged(offset, parts) for offset, parts in sorted(found.items()))


def _is_alone(part: Bits, layout: PageLayout) -> bool:
    """Return whether these bits are missing, or read only of pages that are runs of their own."""
    return part.missing or part.offset >= layout.struct_size or part.only == "blocks"


def _merged(offset: int, parts: list[Bits]) -> Compared:
    mask = 0
    for part in parts:
        if not part.only and (part.equals is None or part.mask.bit_count() == 1):
            mask |= part.mask
    return Compared(offset, mask, tuple(dict.fromkeys(p for p in parts if p.mask & ~mask)))


class RunScope:
    """The Scope of runs: allows reads in which all pages of a run agree."""

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
