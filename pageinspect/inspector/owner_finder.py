# SPDX-License-Identifier: GPL-2.0-only
"""Finds the owner of each page of one kernel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ..classify import Pages
from ..classify.batches import Pfns
from ..classify.details import Detail
from ..kernel.page_ext import read_sites
from ..model.batch import Words
from ..model.layout import PageLayout
from ..model.ranges import Range
from ..owners.assign import Assigned, Assigner, edges_of
from ..owners.kind import Claims
from ..owners.refine import refined
from ..owners.structures import Structures
from ..owners.table import KINDS
from ..vmemmap import reader
from .inspector import Inspector
from .owner_names import OwnerNames
from .structures import STRUCTURE_NAMES, read_structures

_FROM_VMCOREINFO = ("memmap",)
"""Fields of Structures that VMCOREINFO alone provides."""
_ALWAYS = ("page_ext",)
"""Fields of Structures that any page may need."""
_NO_STRUCTURES = (
    "VMCOREINFO alone does not provide the structures that lead to owners: owners have no names, "
    "and pages that are found by these structures are unknown"
)


@dataclass(frozen=True, slots=True)
class OwnerFinder:
    """Finds the owner of each page of one kernel."""

    claims: dict[str, Claims]
    names: OwnerNames
    missing: tuple[str, ...]
    """What is missing of the structures, as sentences without a full stop."""
    structures: Structures
    edges: Pfns
    """The pfns at which claims begin or end, sorted."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences about structures and names that are missing or could not be read."""
        return tuple(f"{text}." for text in (*self.missing, *self.names.problems))

    def assigner(self, layout: PageLayout) -> Assigner:
        """Return an Assigner with the claims of this kernel's structures."""
        return Assigner(layout, self.claims, self.edges)

    def walk(
        self,
        copy: Inspector,
        wanted: Sequence[Range],
        assigner: Assigner,
        detail: Detail = "owner",
    ) -> Iterator[tuple[Pages, Assigned]]:
        """Yield runs of the wanted pages, with the owners of the wanted ones and their keys."""

        def read_words(starts: Pfns, ends: Pfns) -> Words:
            return reader.read_words(copy.target.prog, copy.layout, starts, ends, copy.mapped)

        ext = self.structures.page_ext
        of_sites = None if ext is None else partial(read_sites, copy.target.prog, ext)
        for pages in copy.sections_in_runs(wanted, detail, assigner.edges):
            pieces = refined(pages, assigner(pages), read_words, of_sites)
            mask = pages.batch.wanted
            yield pages, pieces if mask is None else pieces.where(mask[pieces.rows])


def owner_finder(inspector: Inspector, fields: Sequence[str] = STRUCTURE_NAMES) -> OwnerFinder:
    """Read the kernel's structures, and return what finds owners by them.

    `fields` are those of Structures. Raises PageInspectError. Structures that are missing or
    damaged are reported in `problems`.
    """
    if inspector.layout.unavailable:
        structures, problems = read_structures(inspector, _FROM_VMCOREINFO)
        problems = (*problems, _NO_STRUCTURES)
    else:
        structures, problems = read_structures(inspector, (*fields, *_ALWAYS))
    claims = {
        kind.name: kind.claims(structures)
        for kind in KINDS
        if kind.claims and all(getattr(structures, name) is not None for name in kind.needs)
    }
    names = OwnerNames(inspector, structures, claims)
    return OwnerFinder(claims, names, problems, structures, edges_of(claims))
