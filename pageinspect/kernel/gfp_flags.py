# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own table of the names of gfp flags.

Their bits depend on its version and options, and no type has them before Linux kernel commit
772dd0342727 ("mm: enumerate all gfp flags") (in v6.9). The table is there since Linux kernel commit
edf14cdbf9a0 ("mm, printk: introduce new format string for flags") (in v4.6).
"""

from drgn import FaultError, Object, Program

from ..model.gfp import GfpNames
from .structures import read_string

_MOST_NAMES = 64
_MOST_CHARACTERS = 32


def read_gfp_names(prog: Program) -> GfpNames:
    """Return the names of gfp flags, in the order of the table; none if it cannot be read."""
    try:
        table = prog["gfpflag_names"]
        element = prog.type("struct trace_print_flags")
        rows = Object(prog, prog.array_type(element, _MOST_NAMES), address=table.address_)
        names = []
        for row in rows:
            name = row.name.value_()
            if not name:
                break
            names.append((row.mask.value_(), read_string(prog, name, _MOST_CHARACTERS)))
    except (LookupError, AttributeError, FaultError):
        return GfpNames()
    return GfpNames(tuple(names))
