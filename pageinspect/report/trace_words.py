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
            f"frees of {' and '.join(sticky)} are expected, for their owners rely on it."
        )
    return (
        f"This kernel's buddy allocator does not reset types ({layout.resets_from}): "
        "a page freed with one is a bad page, where the kernel checks pages."
    )


def bad_pages_remark(calls: int | None) -> str:
    """Return what is known of calls of bad_page(), which are not always counted."""
    if calls is None:
        return "This kernel lets nobody count its calls of bad_page()."
    if not calls:
        return "The kernel found no bad page meanwhile."
    return f"The kernel found bad pages: {counted(calls, 'call')} of bad_page()."


def poisoned_remark(frees: int) -> str:
    """Return what became of poisoned pages."""
    return f"Kept from the buddy, and in no total: {counted(frees, 'poisoned page')} (hwpoison)."


def lost_remark(lost: Lost) -> str:
    """Return what is missing, and why."""
    parts = [
        (lost.missed, "freed by interrupts while the tracer ran"),
        (lost.unread, "unreadable"),
        (lost.who, "by too many different ones to tell apart"),
        (lost.stacks, "stacks that did not fit"),
        (lost.events, "events that were not taken in time"),
    ]
    reported = ", ".join(f"{number(n)} {what}" for n, what in parts if n)
    return f"Lost: {reported}."
