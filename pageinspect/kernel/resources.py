# SPDX-License-Identifier: GPL-2.0-only
"""Reads the resources of physical memory, as in /proc/iomem."""

from drgn import FaultError, Object, Program

from ..model.kernel_memory import Resource, Resources
from .structures import read_string, require_structure

_MAX = 1 << 16
_LONGEST_NAME = 256


def read_resources(prog: Program) -> Resources:
    """Read the tree below iomem_resource; raises MissingStructureError."""
    with require_structure("iomem_resource"):
        root, type_ = prog["iomem_resource"], prog.type("struct resource")
    found: list[Resource] = []
    seen: set[int] = set()
    whole, unreadable = True, 0
    try:
        waiting = [(root.child.value_(), 0)]
    except FaultError:
        return Resources(whole=False, unreadable=1)
    while waiting:
        address, depth = waiting.pop()
        if not address:
            continue
        if address in seen or len(seen) >= _MAX:
            whole = False
            continue
        seen.add(address)
        try:
            resource = Object(prog, type_, address=address).read_()
        except FaultError:
            whole = False
            unreadable += 1
            continue
        waiting += [(resource.sibling.value_(), depth), (resource.child.value_(), depth + 1)]
        try:
            name = read_string(prog, resource.name.value_(), _LONGEST_NAME)
        except FaultError:
            unreadable += 1
            name = ""
        start, last = resource.start.value_(), resource.end.value_()
        found.append(Resource(start, last + 1, name, depth))
    return Resources(tuple(found), whole, unreadable)
