# SPDX-License-Identifier: GPL-2.0-only
"""Types, constants, variables and symbols of a kernel without its debug information.

btf.py reads the BTF format, btf_types.py makes drgn types from it, find.py locates BTF and kallsyms
in a kernel, cache.py and keys.py cache the results of lookups, and finders.py registers all of this
with a drgn Program. All other code asks drgn, and need not know whether types come from BTF or
DWARF.
"""

from .cache import SymbolCache
from .finders import attach_btf

__all__ = ["SymbolCache", "attach_btf"]
