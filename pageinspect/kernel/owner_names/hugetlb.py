# SPDX-License-Identifier: GPL-2.0-only
"""Says what huge pages of pools are used for, from two words of their heads: private and mapping.

A reservation belongs to no page: it is a counter of the pool.
"""

import numpy as np
import numpy.typing as npt
from drgn import Program

from ...model.batch import Words
from ...model.owner_names import HugetlbState
from ...model.page_words import MAPPING_ANON
from ..structures import require_structure

_FREE = "HPG_freed"


class HugetlbStates:
    """Decodes the words of huge pages."""

    def __init__(self, prog: Program) -> None:
        """Look up the flag of free pages; raises MissingStructureError for kernels without."""
        with require_structure("flags of huge pages"):
            self._free = np.uint64(1 << prog.constant(_FREE).value_())

    def states(self, private: Words, mapping: Words) -> npt.NDArray[np.uint8]:
        """Return the HugetlbState of each head, from its words `private` and `mapping`.

        FileNames names the file of a mapping with the state FILE.
        """
        found = np.full(len(private), HugetlbState.OTHER, np.uint8)
        found[mapping != 0] = HugetlbState.FILE
        found[mapping & np.uint64(MAPPING_ANON) != 0] = HugetlbState.ANON
        found[private & self._free != 0] = HugetlbState.FREE
        return found
