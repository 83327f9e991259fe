# SPDX-License-Identifier: GPL-2.0-only
"""Size limits for the notes of a core: the libraries that read notes copy them several times."""

from ...units import number, size

MAX_VMCOREINFO = 1 << 20
"""In bytes; a kernel writes a few KiB."""
_MAX_NOTES = 32 << 20
"""In bytes; the notes of one CPU take less than one KiB."""


def excess(vmcoreinfo: int, notes: int) -> str | None:
    """Return the problem of a dump that claims this many bytes of each; None if there is none."""
    if vmcoreinfo > MAX_VMCOREINFO:
        return f"claims {number(vmcoreinfo)} bytes of VMCOREINFO, more than {size(MAX_VMCOREINFO)}"
    if notes > _MAX_NOTES:
        return f"claims {number(notes)} bytes of notes, more than {size(_MAX_NOTES)}"
    return None
