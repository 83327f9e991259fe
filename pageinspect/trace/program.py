# SPDX-License-Identifier: GPL-2.0-only
"""Loads bpf/page_free.bpf.c into this kernel, attaches it and reads its maps."""

import contextlib
import ctypes
import errno
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, Self

import numpy as np

from ..errors import PageInspectError
from ..model.layout import PageLayout
from ..model.page_types import SLOTS
from ..paths import data_folder
from .compile import TRACEPOINT, compile_program, kernel_error, kernel_errors
from .kinds import KINDS, UNREAD
from .options import TraceOptions, layout_defines
from .records import LOSSES, MOST_WHO, ORDERS, WHO, Event, FreeCounts, Lost, events_of
from .tracepoint import TypedTracepoint

_STACK_DEPTH = 127
"""Maximum frames per stack: PERF_MAX_STACK_DEPTH."""

_MOST_EVENTS = 1 << 16
"""Events per ring_buffer_consume(): more than the buffer holds, so that one call empties it."""

_FUNCTION = "count_page_free"
_BAD_PAGE = b"bad_page"


class PageFreeProgram:
    """bpf/page_free.bpf.c, loaded into this kernel; counts while attached.

    The kernel frees the program and its maps with their last descriptor, so they are gone when the
    process ends, however it ends.
    """

    def __init__(
        self, bcc: ModuleType, layout: PageLayout, options: TraceOptions | None = None
    ) -> None:
        options = options or TraceOptions()
        self._layout = layout
        self._defines = options.defines(layout)
        source = data_folder("bpf") / "page_free.bpf.c"
        self._lib = bcc.lib
        self._records: list[bytes] = []
        self._counts_bad_pages = False
        self.events_fd: int | None = None
        """Descriptor that is readable while there are events to take; None when events are off."""
        with contextlib.ExitStack() as given_back:
            self._bpf = compile_program(bcc, source, layout_defines(layout) | self._defines)
            given_back.callback(self._bpf.cleanup)
            if options.filters.pfns:
                self._fill(b"ranges", options.filters.ranges(layout))
            with kernel_errors("the BPF program"):
                instructions = self._bpf.dump_func(_FUNCTION.encode())
                self._tracepoint = TypedTracepoint(bcc, TRACEPOINT, _FUNCTION, instructions)
            given_back.callback(self._tracepoint.close)
            self._cpus = int(self._bpf[b"frees"].total_cpu)
            if "EVENT_SET" in self._defines:
                table = self._bpf[b"events"]
                table.open_ring_buffer(self._take)
                self.events_fd = int(table.map_fd)
            self._given_back = given_back.pop_all()

    def _take(self, _context: object, data: Any, size: int) -> int:
        # A callback from C cannot raise, so it only copies the record.
        self._records.append(ctypes.string_at(data, size))
        # A negative result ends the call, which otherwise would not end under a flood of events.
        return -1 if len(self._records) >= _MOST_EVENTS else 0

    def attach(self) -> None:
        """Start counting. Raises PageInspectError."""
        if "BAD_PAGES" in self._defines:
            # The kprobe is optional: without it only calls of bad_page() are not counted.
            with contextlib.suppress(PageInspectError), kernel_errors("a kprobe"):
                self._bpf.attach_kprobe(event=_BAD_PAGE, fn_name=b"count_bad_page")
                self._counts_bad_pages = True
        with kernel_errors(f"to attach to the raw tracepoint {TRACEPOINT}"):
            self._tracepoint.attach()

    def detach(self) -> None:
        """Stop counting; the counts stay readable. Does nothing when not attached."""
        self._tracepoint.detach()
        for probe in list(self._bpf.kprobe_fds):
            self._bpf.detach_kprobe_event(probe)

    def take_events(self, start_ns: int) -> list[Event]:
        """Return the events since the last call, oldest first, their times since `start_ns`."""
        if self.events_fd is None:
            return []
        self._bpf.ring_buffer_consume()
        records, self._records = self._records, []
        return events_of(self._layout, records, start_ns)

    def stack(self, number: int) -> Sequence[int]:
        """Return the addresses of a kernel stack by its number, innermost first."""
        addresses = np.zeros((1, _STACK_DEPTH), np.uint64)
        self._look_up(b"stacks", [number], addresses)
        return addresses[0, : np.count_nonzero(addresses)].tolist()

    def read(self) -> FreeCounts:
        """Return the counts since attach."""
        frees = self._read_percpu(b"frees", KINDS, ORDERS)
        who, tails, losses = {}, np.zeros(SLOTS, np.uint64), [0] * LOSSES
        if "WHO_SET" in self._defines:
            who = self._read_who()
        if "COUNT_TAILS" in self._defines:
            tails = self._read_percpu(b"tails", SLOTS)[:, 0]
        if not {"WHO_SET", "EVENT_SET"}.isdisjoint(self._defines):
            losses = self._read_percpu(b"lost", LOSSES)[:, 0].tolist()
        bad_pages = None
        if self._counts_bad_pages:
            bad_pages = int(self._read_percpu(b"bad_pages", 1).sum())
        unread = int(frees[UNREAD].sum())
        return FreeCounts(
            frees, Lost(unread, self._tracepoint.missed(), *losses), who, tails, bad_pages
        )

    def _fill(self, table: bytes, values: np.ndarray) -> None:
        """Write row i of an array as the value of key i of a map."""
        fd = int(self._bpf[table].map_fd)
        start, step = values.ctypes.data, values.strides[0]
        for row in range(len(values)):
            key, place = ctypes.byref(ctypes.c_int(row)), ctypes.c_void_p(start + row * step)
            if self._lib.bpf_update_elem(fd, key, place, 0) < 0:
                raise kernel_error(ctypes.get_errno(), f"to write the map {table.decode()}")

    def _look_up(self, table: bytes, keys: Iterable[int], into: np.ndarray) -> None:
        """Read the values of these keys into the rows of an array."""
        # bcc's own tables build a Python object per CPU and order. The result of
        # ndarray.ctypes.data_as() is a reference cycle, so memory would grow between garbage
        # collections of a long trace.
        fd = int(self._bpf[table].map_fd)
        start, step = into.ctypes.data, into.strides[0]
        for row, key in enumerate(keys):
            place = ctypes.c_void_p(start + row * step)
            if self._lib.bpf_lookup_elem(fd, ctypes.byref(ctypes.c_int(key)), place) < 0:
                raise kernel_error(ctypes.get_errno(), f"to read the map {table.decode()}")

    def _read_percpu(self, table: bytes, keys: int, words: int = 1) -> np.ndarray:
        """Return a per-CPU array summed over the CPUs, (keys, words) uint64."""
        values = np.zeros((keys, self._cpus, words), np.uint64)
        self._look_up(table, range(keys), values)
        return values.sum(axis=1)

    def _read_who(self) -> dict[bytes, int]:
        keys, values = np.zeros(MOST_WHO, WHO), np.zeros(MOST_WHO, np.uint64)
        n, batch = ctypes.c_uint32(MOST_WHO), ctypes.c_uint32()
        result = self._lib.bpf_lookup_batch(
            int(self._bpf[b"who"].map_fd),
            None,
            ctypes.byref(batch),
            keys.ctypes.data_as(ctypes.c_void_p),
            values.ctypes.data_as(ctypes.c_void_p),
            ctypes.byref(n),
        )
        # ENOENT: the batch reached the end of the map.
        if result < 0 and ctypes.get_errno() != errno.ENOENT:
            raise kernel_error(ctypes.get_errno(), "to read the map who")
        found = keys[: n.value]
        return dict(zip((key.tobytes() for key in found), values[: n.value].tolist(), strict=True))

    def close(self) -> None:
        """Detach and give everything back to the kernel."""
        self._given_back.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
