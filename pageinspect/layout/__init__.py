# SPDX-License-Identifier: GPL-2.0-only
"""Builds the PageLayout: how to read struct page of one kernel, as plain integers.

This package is the only place that knows the history of struct page. It detects features of the
kernel, so that no other code depends on the kernel release. from_types.py uses the kernel's types.
from_vmcoreinfo.py uses VMCOREINFO where types are not available.
"""

from collections.abc import Mapping

from drgn import Program

from ..model.layout import PageLayout
from . import from_types, from_vmcoreinfo

__all__ = ["build_layout"]


def build_layout(prog: Program, vmcoreinfo: Mapping[str, str]) -> PageLayout:
    """Return the PageLayout of the kernel that `prog` has open.

    If `prog` has no type struct page, the layout is made from VMCOREINFO alone, and its
    `unavailable` lists what VMCOREINFO does not have. Raises PageInspectError if a member or line
    that pageinspect requires is missing.
    """
    try:
        prog.type("struct page")
    except LookupError:
        return from_vmcoreinfo.build(prog, vmcoreinfo)
    return from_types.build(prog, vmcoreinfo)
