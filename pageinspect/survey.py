"""Wires the walking stages: an opened kernel, and its pages as columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import walk
from .census import Census, take_census
from .classify import Pages, head_pfns, outside_heads
from .layout import PageLayout, build_layout
from .ranges import Range
from .target import Target


@dataclass(frozen=True, slots=True)
class Survey:
    """A kernel that can be asked about its pages."""

    target: Target
    layout: PageLayout
    census: Census

    def pages(self, wanted: Sequence[Range]) -> Iterator[Pages]:
        """Yield the columns of the batches that hold the wanted pfns, in pfn order.

        `wanted` are sorted disjoint (start, end) pfns that have struct pages, end exclusive.
        """
        prog, layout = self.target.prog, self.layout
        for batch in walk.walk(prog, layout, self.census.spanned, wanted):
            heads = head_pfns(layout, batch)
            outside = outside_heads(batch, heads)
            outer = walk.read_folio_heads(prog, layout, outside)
            yield Pages(layout, self.census, batch, heads, outside, outer)


def survey(target: Target) -> Survey:
    """Learn the layout and take the census of an opened kernel; raises PageInspectError."""
    layout = build_layout(target.prog, target.vmcoreinfo)
    return Survey(target, layout, take_census(target.prog, layout))
