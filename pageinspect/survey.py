"""Wires the walking stages: an opened kernel, and its pages as columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import classify, walk
from .census import Census, take_census
from .classify import TypeColumns
from .layout import PageLayout, build_layout
from .ranges import Range
from .target import Target
from .walk import PageBatch


@dataclass(frozen=True, slots=True)
class Survey:
    """A kernel that can be asked about its pages."""

    target: Target
    layout: PageLayout
    census: Census

    def types(self, wanted: Sequence[Range]) -> Iterator[tuple[PageBatch, TypeColumns]]:
        """Yield the batches that hold the wanted pfns, with their type columns, in pfn order.

        `wanted` are sorted disjoint (start, end) pfns that have struct pages, end exclusive.
        """
        prog, layout = self.target.prog, self.layout
        for batch in walk.walk(prog, layout, self.census.spanned, wanted):
            heads = classify.head_pfns(layout, batch)
            outside = classify.outside_heads(batch, heads)
            outer = walk.read_folio_heads(prog, layout, outside)
            yield batch, classify.type_columns(layout, batch, heads, outside, outer)


def survey(target: Target) -> Survey:
    """Learn the layout and take the census of an opened kernel; raises PageInspectError."""
    return Survey(target, build_layout(target.prog, target.vmcoreinfo), take_census(target.prog))
