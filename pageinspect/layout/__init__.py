"""The PageLayout: how this kernel's struct page is to be read, as plain integers.

This package is the one place that knows the history of struct page. It decides once, by features:
nothing after it branches on kernels. from_types.py asks the kernel's types, from_vmcoreinfo.py what
VMCOREINFO says where there are none.
"""

from collections.abc import Mapping

from drgn import Program

from ..model.layout import PageLayout
from . import from_types, from_vmcoreinfo

__all__ = ["build_layout"]


def build_layout(prog: Program, vmcoreinfo: Mapping[str, str]) -> PageLayout:
    """Return the PageLayout of the kernel that `prog` looks at.

    Where `prog` knows no struct page it is made from VMCOREINFO alone, and names what that cannot
    tell. Raises PageInspectError when struct page lacks what pageinspect must know.
    """
    try:
        prog.type("struct page")
    except LookupError:
        return from_vmcoreinfo.build(prog, vmcoreinfo)
    return from_types.build(prog, vmcoreinfo)
