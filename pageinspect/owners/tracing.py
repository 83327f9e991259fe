# SPDX-License-Identifier: GPL-2.0-only
"""The memory of tracing."""

from ..model.owner_memory import TraceMemory
from .kind import Claims, Kind, Label, claims_of_ranges
from .structures import Structures


def _claims(structures: Structures) -> Claims:
    trace = structures.trace or TraceMemory()
    return claims_of_ranges((Label(name), (pages,)) for name, pages in trace.parts)


TRACING = Kind(
    "trace",
    "Memory of tracing: the pages of ring buffers, by trace array, and the records of the "
    "functions that can be traced.",
    "ftrace_trace_arrays, with the ring buffer of each CPU, and ftrace_pages_start.",
    may_claim=("kernel", "idle", "mapped", "reserved"),
    claims=_claims,
    needs=("trace",),
    exact=True,
    limits="Ring buffers of perf events are not found.",
)
