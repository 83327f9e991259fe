# SPDX-License-Identifier: GPL-2.0-only
"""Counts the objects of slabs by the memory cgroup that they are charged to."""

from ..classify.batches import Pfns
from ..kernel.owner_names.slab_objects import SlabObjects
from ..kernel.structures import MissingStructureError
from ..vmemmap.reader import read_words
from .inspector import Inspector


def charged_objects(inspector: Inspector, heads: Pfns) -> dict[int, int]:
    """Return bytes of objects by the word of their cgroup, for slabs with these first pfns.

    Empty if this kernel does not charge slab objects, or if its types do not show how.
    """
    layout = inspector.layout
    places = (layout.slab_cache, layout.memcg, layout.slab_counters)
    try:
        objects = SlabObjects(inspector.target.prog)
    except MissingStructureError:
        return {}
    words = read_words(inspector.target.prog, layout, heads, heads + 1, inspector.mapped)
    columns = [words[:, place // 8] for place in places if place is not None]
    if len(columns) < len(places):
        return {}
    found = objects.charged(*columns)
    return dict(zip(found.words.tolist(), found.bytes.tolist(), strict=True))
