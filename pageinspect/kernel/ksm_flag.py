# SPDX-License-Identifier: GPL-2.0-only
"""Detects in the kernel's code whether KPF_KSM marks KSM pages only, or all anonymous pages."""

import re
import struct

from drgn import FaultError, Program

from ..model.kpageflags import KsmRule

_ANON_AND_KSM = struct.pack("<I", 1 << 12 | 1 << 21)
"""KPF_ANON and KPF_KSM."""
_NEAR = 32
"""Bytes of code before and after the constant in which the comparison is searched."""
# Instructions that mask or test the two low bits of a register (and, test), and those that make it
# a comparison with both bits set (cmp with 3, or a preceding not).
_LOW_BITS = re.compile(rb"\x83[\xe0-\xe7]\x03|\xf6[\xc0-\xc7]\x03|[\xa8\x24]\x03")
_BOTH_BITS = re.compile(rb"\x83[\xf0-\xff]\x03|\xf7[\xd0-\xd7]|[\x34\x3c]\x03")
_CODE, _MAX_CODE = 1 << 10, 1 << 14
"""Bytes of the function that are read: if its size is unknown, and at most."""


def ksm_by_code(code: bytes) -> KsmRule | None:
    """Return the rule of KPF_KSM by the code of stable_page_flags(); None if it is not found.

    Before the code sets KPF_ANON and KPF_KSM together, it tests the two low bits of mapping: either
    for both set, or for any of them.
    """
    at = code.find(_ANON_AND_KSM)
    if at < 0:
        return None
    near = code[max(at - _NEAR, 0) : at + _NEAR]
    if not _LOW_BITS.search(near):
        return None
    return "exact" if _BOTH_BITS.search(near) else "any-anon"


def ksm_rule(prog: Program, *, compound_info: bool) -> tuple[KsmRule, str]:
    """Return the rule of KPF_KSM, and the feature it is inferred from ("" if read from code).

    Since Linux kernel commit dee3d0bef2b0 ("proc: rewrite stable_page_flags()") (in v6.10), any of
    the two low bits of mapping sets KPF_KSM, also the one of anonymous pages. Since Linux kernel
    commit 81401cebfc15 ("fs/proc: fix KPF_KSM reported for all anonymous pages") (in v7.2, and in
    stable releases), both bits must be set. The types do not show this.
    """
    try:
        symbol = prog.symbol("stable_page_flags")
        # Symbols from a file have no size.
        size = symbol.size if symbol.size > 1 else _CODE
        code = prog.read(symbol.address, min(size, _MAX_CODE))
    except (LookupError, FaultError):
        code = b""
    rule = ksm_by_code(code)
    if rule is not None:
        return rule, ""
    # compound_info is in v7.1 and later. Stable releases of v7.1 have the fix.
    if compound_info:
        return "exact", "page.compound_info"
    return "any-anon", "the lack of page.compound_info"
