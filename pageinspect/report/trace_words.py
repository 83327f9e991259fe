"""What reports of the tracer say in sentences."""

from ..model.layout import PageLayout
from ..trace.records import Lost
from ..units import counted, number


def meaning(layout: PageLayout) -> str:
    """Return what a typed free means on this kernel."""
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
    """Return what is known of calls of bad_page(), which are not always counted."""
    if calls is None:
        return "Bad pages were not counted: bad_page() cannot be probed on this kernel."
    if not calls:
        return "The kernel reported no bad page during the trace."
    return f"The kernel reported bad pages: {counted(calls, 'call')} of bad_page()."


def poisoned_remark(frees: int) -> str:
    """Return what became of poisoned pages."""
    return f"Withheld from the allocator, and not in any total: {counted(frees, 'hwpoison page')}."


def lost_remark(lost: Lost) -> str:
    """Return what is missing, and why."""
    parts = [
        (lost.missed, "freed by interrupts while the tracer ran"),
        (lost.unread, "unreadable"),
        (lost.who, "without a breakdown, as there were too many distinct keys"),
        (lost.stacks, "stacks for which there was no room"),
        (lost.events, "events that were not read in time"),
    ]
    reported = ", ".join(f"{number(n)} {what}" for n, what in parts if n)
    return f"Lost: {reported}."
