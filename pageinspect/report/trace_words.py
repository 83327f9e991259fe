# SPDX-License-Identifier: GPL-2.0-only
"""The sentences in reports of the tracer."""

from ..model.layout import PageLayout
from ..trace.records import Lost
from ..units import counted, number

MEANWHILE = "while the tracer's own program ran on the same CPU"
"""What happened when the kernel skipped the program."""


def meaning(layout: PageLayout) -> str:
    """Return a sentence on what a typed free means on this kernel."""
    if layout.resets:
        sticky = [t.name for t in layout.scheme.types if layout.is_sticky(t.name)]
        return (
            f"This kernel's buddy allocator resets a type that is still set "
            f"({layout.resets_from}): typed "
            f"frees of {' and '.join(sticky)} are expected, because their owners rely on it."
        )
    return (
        f"This kernel's buddy allocator does not reset types ({layout.resets_from}): "
        "a page that is freed with a type is a bad page, if the kernel checks pages."
    )


def bad_pages_remark(calls: int | None) -> str:
    """Return a sentence on calls of bad_page(); `calls` is None if they were not counted."""
    if calls is None:
        return "Bad pages were not counted: bad_page() cannot be probed on this kernel."
    if not calls:
        return "The kernel reported no bad page during the trace."
    return f"The kernel reported bad pages: {counted(calls, 'call')} of bad_page()."


def poisoned_remark(frees: int) -> str:
    """Return a sentence on freed hwpoison pages."""
    return f"Withheld from the allocator, and not in any total: {counted(frees, 'hwpoison page')}."


def lost_remark(lost: Lost) -> str:
    """Return a sentence on what is missing from the counts, and why."""
    parts = [
        (lost.missed, f"frees {MEANWHILE}"),
        (lost.unread, "unreadable"),
        (lost.who, "without a breakdown, because there were too many distinct keys"),
        (lost.stacks, "stacks, because the map of stacks was full"),
        (lost.events, "events, because they were not read in time"),
    ]
    reported = ", ".join(f"{number(n)} {what}" for n, what in parts if n)
    return f"Lost: {reported}."
