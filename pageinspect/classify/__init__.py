# SPDX-License-Identifier: GPL-2.0-only
"""Classifies struct pages: turns their words into columns, one entry per pfn, without I/O."""

from .codes import CODES, UNTYPED, Code, code_name, codes_of, marker_of, type_names
from .counted import CountedPages
from .folios import head_pfns, outside_heads
from .uses import USE_CODES, Pages, use_name, use_names, use_rank, uses_of

__all__ = [
    "CODES",
    "UNTYPED",
    "USE_CODES",
    "Code",
    "CountedPages",
    "Pages",
    "code_name",
    "codes_of",
    "head_pfns",
    "marker_of",
    "outside_heads",
    "type_names",
    "use_name",
    "use_names",
    "use_rank",
    "uses_of",
]
