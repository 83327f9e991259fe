# SPDX-License-Identifier: GPL-2.0-only
"""Opens the running kernel to trace it."""

from ..target.open import Target, open_target
from ..target.symbols.find import find_symbols
from ..target.symbols.sources import SymbolOptions
from .abilities import has_btf


def open_kernel(*, needs_types: bool) -> Target:
    """Open this kernel with its own types and symbols. Raises PageInspectError.

    Without BTF, unless the caller `needs_types`, the layout of struct page is that of VMCOREINFO,
    and functions are named by /proc/kallsyms.
    """
    if needs_types or has_btf():
        # A kernel whose types cannot be used is not traced with less.
        return open_target(options=SymbolOptions(only="btf"))
    target = open_target()
    target.prog.register_symbol_finder(
        "kallsyms", find_symbols(target.prog, live=True), enable_index=0
    )
    return target
