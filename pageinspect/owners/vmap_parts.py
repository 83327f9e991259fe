# SPDX-License-Identifier: GPL-2.0-only
"""Splits vmalloc areas between the kinds of owners that hold vmalloc pages.

The pages of an area belong to the stack of a task, to a module, to BPF, or to vmalloc: each page to
one of them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from ..model.arch import PAGE_SIZE
from ..model.kernel_memory import Pfns, VmapArea
from ..model.processes import Stack
from .kind import Label
from .structures import Structures

Part = Literal["stack", "module", "bpf", "vmalloc"]

STACK_CALLERS = (
    "kernel_clone",
    "fork_idle",
    "create_io_thread",
    "dup_task_struct",
    "copy_process",
    "alloc_thread_stack_node",
    "vhost_task_create",
)
"""Functions that are recorded as the caller of stacks, by kernel and compiler."""
NO_TASK = "(no task)"
"""The name of stacks whose task is not found."""
BPF_CALLERS = (
    "bpf_prog_alloc_no_stats",
    "bpf_prog_alloc",
    "bpf_prog_realloc",
    "bpf_dispatcher_change_prog",
)


class VmapPiece(NamedTuple):
    """Pages of a vmalloc area with one owner."""

    part: Part
    label: Label
    pfns: Pfns


class _Extent(NamedTuple):
    start: int
    end: int
    part: Part
    name: str


def pieces_of(structures: Structures, part: Part) -> Iterator[tuple[Label, Pfns]]:
    """Yield the owners of one part with their pages."""
    for piece in split_areas(structures):
        if piece.part == part:
            yield piece.label, piece.pfns


def split_areas(structures: Structures) -> Iterator[VmapPiece]:
    """Yield all pages of all vmalloc areas, each once."""
    if structures.vmap is None:
        return
    stacks = _stack_names(structures)
    extents = _disjoint(_extents(structures))
    starts = [extent.start for extent in extents]
    for area in structures.vmap.areas:
        if not len(area.pages):
            continue
        caller = structures.callers.get(area.caller, hex(area.caller) if area.caller else "")
        function = caller.partition(" ")[0]
        if area.vm in stacks:
            yield _whole(area, "stack", stacks[area.vm], caller)
        elif function in STACK_CALLERS:
            yield _whole(area, "stack", NO_TASK, caller)
        else:
            first = max(bisect_right(starts, area.start) - 1, 0)
            end = bisect_right(starts, area.end - 1)
            inside = [e for e in extents[first:end] if e.end > area.start]
            yield from _divided(area, inside, caller, function)


def _whole(area: VmapArea, part: Part, name: str, caller: str) -> VmapPiece:
    return VmapPiece(part, Label(name, caller), area.between(area.start, area.end))


def _divided(
    area: VmapArea, inside: Sequence[_Extent], caller: str, function: str
) -> Iterator[VmapPiece]:
    """Yield the pages of an area by the extents in it, and the rest.

    A page that two extents share belongs to the first.
    """
    rest: Part = "bpf" if function in BPF_CALLERS else "vmalloc"
    name = "programs" if rest == "bpf" else caller or "(no caller)"
    at = area.start
    for extent in inside:
        start = max(extent.start & -PAGE_SIZE, at)
        end = min(-(-extent.end // PAGE_SIZE) * PAGE_SIZE, area.end)
        if start >= end:
            continue
        yield VmapPiece(rest, Label(name, caller), area.between(at, start))
        yield VmapPiece(extent.part, Label(extent.name, caller), area.between(start, end))
        at = end
    if at < area.end:
        yield VmapPiece(rest, Label(name, caller), area.between(at, area.end))


def stack_labels(structures: Structures) -> Iterator[tuple[Label, Pfns]]:
    """Yield the stacks that tasks and CPUs refer to, whether or not their area was found."""
    for stack, name in _named_stacks(structures):
        yield Label(name), stack.pfns


def _stack_names(structures: Structures) -> dict[int, str]:
    """Return the name of each stack by the address of its struct vm_struct."""
    return {stack.area: name for stack, name in _named_stacks(structures)}


def _named_stacks(structures: Structures) -> Iterator[tuple[Stack, str]]:
    if structures.tasks is None:
        return
    for stack in structures.tasks.cached_stacks:
        yield stack, "(cached)"
    for stack in structures.tasks.stacks:
        yield stack, f"{stack.comm}[{stack.tid}]"


def _extents(structures: Structures) -> Iterator[_Extent]:
    """Yield the address ranges of modules and of BPF."""
    for module in structures.modules.modules if structures.modules else ():
        for memory in module.ranges:
            yield _Extent(memory.start, memory.end, "module", module.name)
    for part in structures.bpf.parts if structures.bpf else ():
        yield _Extent(part.start, part.end, "bpf", part.name)


def _disjoint(extents: Iterable[_Extent]) -> list[_Extent]:
    """Return extents sorted and without overlaps.

    Of two that overlap, the one that starts first has the addresses, or else the longer one.
    """
    kept: list[_Extent] = []
    end = 0
    for extent in sorted(extents, key=lambda extent: (extent.start, -extent.end)):
        start = max(extent.start, end)
        if start < extent.end:
            kept.append(extent._replace(start=start))
            end = extent.end
    return kept
