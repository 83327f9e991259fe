# SPDX-License-Identifier: GPL-2.0-only
"""What the programs of bpf/ have in common, each of which a session attaches and reads."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from ..model.layout import PageLayout
from .compile import Compiler
from .frame_sizes import FrameSizes
from .held_blocks import STACK_BITS, BesideVmstat
from .hooks import Hook
from .loaded import LoadedProgram
from .options import Filters, layout_defines
from .vmstat import read_beside


class BpfProgram:
    """A program of bpf/, loaded into this kernel; it counts or records while it is attached."""

    events_fd: int | None = None
    """Descriptor that is readable while there are events to take; None without events."""

    def __init__(
        self,
        compiler: Compiler,
        source: str,
        layout: PageLayout,
        defines: dict[str, str],
        hooks: Sequence[Hook],
        filters: Filters,
    ) -> None:
        """Load the file `source`, with the -D of the layout and these. Raises PageInspectError."""
        self._loaded = LoadedProgram(compiler, source, layout_defines(layout) | defines, hooks)
        self._maps = self._loaded.maps
        if filters.pfns:
            with self._closed_on_error():
                self._maps["ranges"].fill(filters.ranges(layout))

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        with contextlib.ExitStack() as given_back:
            given_back.callback(self.close)
            yield
            given_back.pop_all()

    def attach(self) -> None:
        """Start counting. Raises PageInspectError."""
        self._loaded.attach()

    def detach(self) -> None:
        """Stop counting; the counts stay readable. Does nothing when not attached."""
        self._loaded.detach()

    def take_events(self, _start_ns: int) -> list[Any]:
        """Return no events: this program only counts."""
        return []

    def stack(self, number: int) -> Sequence[int]:
        """Return the addresses of a kernel stack by its number, innermost first."""
        return self._maps["stacks"].stack(number)

    def close(self) -> None:
        """Detach and give everything back to the kernel."""
        self._loaded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class ComparedProgram(BpfProgram, ABC):
    """A program of allocations and frees, with their callers.

    Its pages are compared with the kernel's own counters while it is attached.
    """

    _attached: frozenset[str] = frozenset()
    """Names of the functions that were attached."""
    _begin = BesideVmstat()
    _end: BesideVmstat | None = None
    _text = 0
    """Address of the kernel's code, if callers are found without the unwinder."""

    def _fill(self, sizes: FrameSizes | None, walks: int) -> None:
        """Give the program the sizes of frames by which it finds callers, on so many paths."""
        if sizes is None:
            return
        self._text = sizes.text
        numbers = np.flatnonzero(sizes.blocks)
        with self._closed_on_error():
            self._maps["text_blocks"].put(numbers.tolist(), sizes.blocks[numbers])
            self._maps["frame_tables"].fill(sizes.tables)
            self._maps["walks"].fill(np.array([[sizes.text, 0, 0]] * walks, np.uint64))

    def stack(self, number: int) -> Sequence[int]:
        """Return the addresses of a kernel stack by its number, innermost first.

        The number of a caller (STACK_BITS) is that of a stack of one frame.
        """
        if abs(number) >> STACK_BITS:
            return [self._text + (number >> STACK_BITS)]
        return super().stack(number)

    @abstractmethod
    def _pages(self) -> tuple[int, int]:
        """Return the pages that were seen allocated and freed."""

    def attach(self) -> None:
        """Start counting. Raises PageInspectError."""
        super().attach()
        functions = self._loaded.functions
        self._attached = frozenset(name for name, each in functions.items() if each.attached)
        # To attach takes a while, in which some of the functions are attached.
        self._begin = read_beside(self._pages)

    def detach(self) -> None:
        """Stop counting; the counts stay readable. Does nothing when not attached."""
        try:
            if self._end is None and self._attached:
                self._end = read_beside(self._pages)
        finally:
            super().detach()

    def _compared(self) -> BesideVmstat:
        """Return pages by the kernel's counters and by those of the program, since attach()."""
        return (self._end or read_beside(self._pages)) - self._begin

    def _missed(self) -> dict[str, int]:
        """Return how often each function was not run, by its name."""
        return {name: function.missed() for name, function in self._loaded.functions.items()}
