"""Whether KPF_KSM of /proc/kpageflags means what it says, or all anonymous memory: read in code."""

import re
import struct

from drgn import FaultError, Program

from ..model.kpageflags import KsmRule

_ANON_AND_KSM = struct.pack("<I", 1 << 12 | 1 << 21)
"""KPF_ANON and KPF_KSM."""
_NEAR = 32
"""Bytes of code around the constant that hold the comparison."""
# and, or test, of the two low bits of a register; and what makes it a comparison with both of them:
# cmp with 3, or not before it.
_LOW_BITS = re.compile(rb"\x83[\xe0-\xe7]\x03|\xf6[\xc0-\xc7]\x03|[\xa8\x24]\x03")
_BOTH_BITS = re.compile(rb"\x83[\xf0-\xff]\x03|\xf7[\xd0-\xd7]|[\x34\x3c]\x03")
_CODE, _MOST_CODE = 1 << 10, 1 << 14
"""Bytes of the function: what it has at least, and what is read of it at most."""


def ksm_by_code(code: bytes) -> KsmRule | None:
    """Return what stable_page_flags() tests for KPF_KSM by its code, None where that is not seen.

    Where it sets both bits at once, it has tested the two low bits of mapping before: for being
    both set, or for any of them.
    """
    at = code.find(_ANON_AND_KSM)
    if at < 0:
        return None
    near = code[max(at - _NEAR, 0) : at + _NEAR]
    if not _LOW_BITS.search(near):
        return None
    return "exact" if _BOTH_BITS.search(near) else "any-anon"


def ksm_rule(prog: Program, *, compound_info: bool) -> tuple[KsmRule, str]:
    """Return what has KPF_KSM, and what that is inferred from: "" where it was read.

    Since Linux kernel commit dee3d0bef2b0 ("proc: rewrite stable_page_flags()") (in v6.10) any of
    the two low bits has it, of which anon is one; since Linux kernel commit 81401cebfc15 ("fs/proc:
    fix KPF_KSM reported for all anonymous pages") (in v7.2, and in stable releases) both together.
    The types show neither.
    """
    try:
        symbol = prog.symbol("stable_page_flags")
        # A file of symbols has no sizes.
        size = symbol.size if symbol.size > 1 else _CODE
        code = prog.read(symbol.address, min(size, _MOST_CODE))
    except (LookupError, FaultError):
        code = b""
    rule = ksm_by_code(code)
    if rule is not None:
        return rule, ""
    # It came one release before, whose stable ones are fixed.
    if compound_info:
        return "exact", "page.compound_info"
    return "any-anon", "the lack of page.compound_info"
