# SPDX-License-Identifier: GPL-2.0-only
"""Counts the objects of slabs by the memory cgroup that they are charged to."""

from collections import Counter
from dataclasses import dataclass, field

from ..classify.batches import Pfns
from ..kernel.owner_names.slab_objects import SlabObjects
from ..kernel.structures import MissingStructureError
from ..units import counted
from ..vmemmap.reader import read_words
from .inspector import Inspector


@dataclass(slots=True)
class SlabCharges:
    """Bytes of slab objects by the memory cgroup that they are charged to."""

    bytes: Counter[int] = field(default_factory=Counter)
    """By the word of the cgroup."""
    unreadable: int = 0
    """Slabs and objects that cannot be read."""
    missing: str = ""
    """Why objects are not counted, if this kernel's types do not show how."""

    def merge(self, other: "SlabCharges") -> None:
        """Add the objects of other slabs."""
        self.bytes.update(other.bytes)
        self.unreadable += other.unreadable
        self.missing = self.missing or other.missing

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences about objects that are missing."""
        found = []
        if self.missing:
            found.append(f"objects of slabs by cgroup: {self.missing}.")
        if self.unreadable:
            found.append(
                f"objects of slabs by cgroup: {counted(self.unreadable, 'item')} could not be read."
            )
        return tuple(found)


def charged_objects(inspector: Inspector, heads: Pfns) -> SlabCharges:
    """Return the charged objects of slabs with these first pfns; none without memory cgroups."""
    layout = inspector.layout
    places = (layout.slab_cache, layout.memcg, layout.slab_counters)
    if layout.memcg is None:
        return SlabCharges()
    try:
        objects = SlabObjects(inspector.target.prog)
    except MissingStructureError as error:
        return SlabCharges(missing=str(error))
    words = read_words(inspector.target.prog, layout, heads, heads + 1, inspector.mapped)
    columns = [words[:, place // 8] for place in places if place is not None]
    if len(columns) < len(places):
        return SlabCharges(missing="this kernel has no known words of slabs")
    found = objects.charged(*columns)
    of_words = zip(found.words.tolist(), found.bytes.tolist(), strict=True)
    return SlabCharges(Counter(dict(of_words)), found.unreadable)
