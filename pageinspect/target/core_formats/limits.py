"""How long the notes of a core can be: the libraries that read them copy them many times over."""

from ...units import number, size

MOST_VMCOREINFO = 1 << 20
"""Bytes; a kernel writes a few KiB."""
_MOST_NOTES = 32 << 20
"""Bytes; those of a CPU take less than one KiB."""


def excess(vmcoreinfo: int, notes: int) -> str | None:
    """Return what is wrong with a dump that says it has so many bytes of them, None for nothing."""
    if vmcoreinfo > MOST_VMCOREINFO:
        return f"claims {number(vmcoreinfo)} bytes of VMCOREINFO, more than {size(MOST_VMCOREINFO)}"
    if notes > _MOST_NOTES:
        return f"claims {number(notes)} bytes of notes, more than {size(_MOST_NOTES)}"
    return None
