# SPDX-License-Identifier: GPL-2.0-only
"""Reads what single pages need besides their owners, which owner_names has.

Each function raises one of UNREADABLE if a dump lacks the memory.
"""

from drgn import FaultError, Program
from drgn.helpers.linux.mmzone import decode_section_flags, nr_to_section

from .structures import MissingStructureError

UNREADABLE = (
    FaultError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    MissingStructureError,
)


def page_offset_base(prog: Program) -> int:
    """Return the address of the direct map."""
    base: int = prog["page_offset_base"].value_()
    return base


def section_flags(prog: Program, number: int) -> str:
    """Return the flags of a memory section, such as PRESENT|HAS_MEM_MAP|ONLINE|EARLY."""
    text: str = decode_section_flags(nr_to_section(prog, number))
    return text.replace("SECTION_", "").replace("IS_", "").replace("MARKED_", "").lower()


def hugetlb_flags(prog: Program, private: int) -> list[str]:
    """Return the names of the flags that hugetlb keeps in private."""
    enumerators = prog.type("enum hugetlb_page_flags").enumerators or ()
    return [e.name for e in enumerators if private >> e.value & 1 and not e.name.startswith("__")]
