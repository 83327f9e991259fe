# SPDX-License-Identifier: GPL-2.0-only
"""The tab Frees: the tracer, which counts while the tab is shown."""

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..doctor.finding import TRACING, CheckedItem
from ..doctor.items import ITEMS, examine
from ..units import printable
from .reading import ScreenReading
from .shown import columns_of

if TYPE_CHECKING:
    from ..report.trace_subject import TraceSubject
    from ..target.open import Target
    from ..trace.program import PageFreeProgram
    from ..trace.records import FreeCounts

_NOT_THIS_KERNEL = (
    "The tracer counts pages as this kernel frees them, and what is shown is another one.",
    "",
    "On the machine itself: pageinspect top, and then this tab; or pageinspect trace.",
)


def missing(items: "tuple[CheckedItem, ...]") -> tuple[str, ...]:
    """Return lines about what tracing lacks and how to get it; none if nothing is missing."""
    lacking = [each for each in items if not each.finding.ok]
    if not lacking:
        return ()
    lines = ["Page frees cannot be traced on this machine:", ""]
    for each in lacking:
        lines.append(f"{each.item.name}: {printable(each.finding.found)}")
        if each.finding.fix:
            lines.append(f"  fix: {printable(each.finding.fix)}")
    return (*lines, "", "pageinspect doctor checks all that this machine provides.")


@dataclass(slots=True)
class _Tracer:
    """A tracer that runs, and what is counted from."""

    program: "PageFreeProgram"
    subject: "TraceSubject"
    first: "FreeCounts"
    first_ns: int
    since: str
    ends: contextlib.ExitStack


@dataclass(slots=True)
class FreesTab:
    """Counts typed frees of this kernel from the first reading until close()."""

    target: "Target | None"
    """This kernel; None if the screen shows another one."""
    _tracer: _Tracer | None = field(default=None)

    def read(self, now: str) -> ScreenReading:
        """Return the frees since the tab was opened, or since mark(). Raises PageInspectError."""
        if self.target is None:
            return ScreenReading(lines=_NOT_THIS_KERNEL, time=now)
        if self._tracer is None:
            needed = tuple(item for item in ITEMS if TRACING in item.needed_for)
            lines = missing(examine(needed))
            if lines:
                return ScreenReading(lines=lines, time=now)
            self._tracer = _start(self.target, now)
        from ..report.trace import TraceReport
        from ..trace.records import Interval

        tracer = self._tracer
        counts = tracer.program.read() - tracer.first
        reading = Interval(counts, tracer.first_ns, time.monotonic_ns())
        report = TraceReport.of(tracer.subject, reading)
        columns = columns_of(report.view().table, ("type",), ())
        lost = report.lost.total
        note = f"{lost} frees were lost: their details are not known" if lost else ""
        return ScreenReading(columns, time=now, since=f"frees since {tracer.since}", note=note)

    def mark(self) -> None:
        """Count from now on."""
        if self._tracer is not None:
            self._tracer.first = self._tracer.program.read()
            self._tracer.first_ns = time.monotonic_ns()
            self._tracer.since = time.strftime("%H:%M:%S")

    def close(self) -> None:
        """Detach the tracer."""
        if self._tracer is not None:
            self._tracer.ends.close()
            self._tracer = None


def _start(target: "Target", now: str) -> _Tracer:
    from ..layout import build_layout
    from ..layout.from_types import zone_names
    from ..report.trace_subject import TraceSubject
    from ..trace.compile import Compiler
    from ..trace.find_bcc import find_bcc
    from ..trace.options import TraceOptions
    from ..trace.program import PageFreeProgram

    layout, options = build_layout(target.prog, target.vmcoreinfo), TraceOptions()
    with contextlib.ExitStack() as ends:
        program = ends.enter_context(PageFreeProgram(Compiler(find_bcc()), layout, options))
        program.attach()
        subject = TraceSubject(target.provenance, layout, options, None, zone_names(target.prog))
        return _Tracer(program, subject, program.read(), time.monotonic_ns(), now, ends.pop_all())
