# SPDX-License-Identifier: GPL-2.0-only
"""The running kernel, as the modes of trace open it."""

import argparse
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

from .options import save_symbol_caches

if TYPE_CHECKING:
    from ..model.gfp import GfpNames
    from ..model.layout import PageLayout
    from ..report.allocation_keys import KeyNames
    from ..target.open import Target
    from ..trace.compile import Compiler
    from ..trace.options import Filters
    from ..trace.stacks import Stacks


class _WithStacks(Protocol):
    def stack(self, number: int) -> Sequence[int]: ...


@dataclass(frozen=True)
class TracedKernel:
    """The running kernel, what is asked of it, and what a program of bpf/ is loaded with.

    Stacks are for a program that is loaded: its own functions are on them, and have names.
    """

    args: argparse.Namespace
    compiler: "Compiler"
    target: "Target"
    layout: "PageLayout"
    filters: "Filters"

    def stacks(self, program: _WithStacks) -> "Stacks":
        """Return the stacks of a program, with callers of the freeing path."""
        from ..trace.stacks import Stacks

        return Stacks(program.stack, self._function_name)

    def allocating_stacks(self, program: _WithStacks) -> "Stacks":
        """Return the stacks of a program, with callers of the allocating path."""
        from ..trace.stacks import ALLOCATING_PATH, Stacks

        return Stacks(program.stack, self._function_name, ALLOCATING_PATH)

    def key_names(self, program: _WithStacks) -> "KeyNames":
        """Return what the values of keys of allocations are called."""
        from ..report.allocation_keys import KeyNames

        return KeyNames(self.allocating_stacks(program), self.migratetypes(), self.gfp())

    @cached_property
    def _function_name(self) -> Callable[[int], str]:
        from ..trace.symbolizer import Symbolizer

        return Symbolizer(self.target.prog).name

    def migratetypes(self) -> tuple[str, ...]:
        """Return the names of migratetypes by number; none if they are not known."""
        from ..kernel.pageblocks import migratetype_names

        with contextlib.suppress(LookupError):
            return migratetype_names(self.target.prog)
        return ()

    def gfp(self) -> "GfpNames":
        """Return the names of gfp flags."""
        from ..kernel.gfp_flags import read_gfp_names

        return read_gfp_names(self.target.prog)


def open_traced(
    args: argparse.Namespace, compiler: "Compiler", *, needs_types: bool
) -> TracedKernel:
    """Open the running kernel; without types of its own only if the mode does not need them."""
    from ..host.startup import configure_libraries

    configure_libraries()

    from ..layout import build_layout
    from ..trace.kernel import open_kernel

    target = open_kernel(needs_types=needs_types)
    args.ends.push(partial(save_symbol_caches, target, None))
    layout = build_layout(target.prog, target.vmcoreinfo)
    return TracedKernel(args, compiler, target, layout, _filters(args, target, layout))


def _filters(args: argparse.Namespace, target: "Target", layout: "PageLayout") -> "Filters":
    from ..trace.options import Filters

    pfns = []
    if args.pfn:
        from ..kernel.memory_map import read_memory_map
        from ..model.range_text import resolve

        memory_map = read_memory_map(target.prog, layout, target.vmcoreinfo)
        pfns = resolve(args.pfn, memory_map, layout.page_shift)
    return Filters(args.order, tuple(pfns), args.pid, args.comm)
