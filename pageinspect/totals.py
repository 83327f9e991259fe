"""Pages by use, and the few finer totals that the kernel's counters are compared with."""

from dataclasses import dataclass, field

import numpy as np

from .classify import CODES, USE_CODES, Code, Pages, code_name, type_names, use_name
from .classify.uses import USE
from .layout import PageLayout
from .schemes import Reading

_MOVABLE = "movable_ops"


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals of a whole machine, in pages."""

    uses: dict[str, int] = field(default_factory=dict)
    """By use; a use without pages may be absent."""
    unmapped_anon: int = 0
    """Of anon and ksm, those that nobody has mapped: in the swap cache, or about to be freed."""
    file_off_lru: int = 0
    """Of file, those on no LRU list, as a driver's are."""
    compound_kernel: int = 0
    """Of kernel, those in compound pages."""
    on_trylock: int = 0
    """Of pcp, those on trylock lists."""
    told: frozenset[str] | None = None
    """The uses that were counted, where not all were."""


class Counting:
    """Adds up the Totals of the batches of a walk."""

    def __init__(self, layout: PageLayout) -> None:
        self._layout = layout
        self._uses = np.zeros(USE_CODES, np.int64)
        self._unmapped = self._off_lru = self._compound = self._trylock = 0

    def add(self, pages: Pages) -> None:
        """Add a batch, all of it."""
        use = pages.use
        self._uses += np.bincount(use, pages.lengths, USE_CODES).astype(np.int64)
        anon = (use == USE["anon"]) | (use == USE["ksm"])
        self._trylock += pages.count(pages.on_trylock_list)
        self._unmapped += pages.count(anon & ~self._mapped(pages))
        self._off_lru += pages.count((use == USE["file"]) & ~pages.head_flag("lru"))
        self._compound += pages.count((use == USE["kernel"]) & (pages.folio_order > 0))

    def _mapped(self, pages: Pages) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return where a page is mapped, by itself or with the whole of its folio."""
        mapped = pages.reading == Reading.MAPCOUNT
        offset = self._layout.entire_mapcount
        if offset is not None:
            entire = pages.of_head(offset) >> np.uint64(8 * (offset % 8))
            mapped = mapped | ((pages.folio_order > 0) & (entire.astype(np.int32) >= 0))
        return mapped

    def totals(self) -> Totals:
        """Return what was added up."""
        uses: dict[str, int] = {}
        for code in np.flatnonzero(self._uses).tolist():
            name = use_name(self._layout, code)
            uses[name] = uses.get(name, 0) + int(self._uses[code])
        return Totals(uses, self._unmapped, self._off_lru, self._compound, self._trylock)


class TypeCounting:
    """Adds up the Totals of those uses that types alone tell: several times cheaper."""

    def __init__(self, layout: PageLayout) -> None:
        self._layout = layout
        self._codes = np.zeros(CODES, np.int64)

    def add(self, pages: Pages) -> None:
        """Add a batch, all of it."""
        self._codes += np.bincount(pages.code, pages.lengths, CODES).astype(np.int64)

    def totals(self) -> Totals:
        """Return what was added up."""
        scheme, uses = self._layout.scheme, dict[str, int]()
        for code in np.flatnonzero(self._codes).tolist():
            name = _MOVABLE if code == Code.MOVABLE_OPS else code_name(scheme, code)
            uses[name] = uses.get(name, 0) + int(self._codes[code])
        told = {_MOVABLE, *type_names(self._layout)}
        if scheme.find("large_kmalloc") is None:
            # The kernel counts large kmalloc as slab, and its pages cannot be told by type.
            told.discard("slab")
        return Totals(uses, told=frozenset(told))
