# SPDX-License-Identifier: GPL-2.0-only
"""What huge pages are used for, by words as the kernel sets them."""

import numpy as np
import pytest
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.owner_names.hugetlb import HugetlbStates
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.owner_names import HugetlbState


def test_states() -> None:
    kernel = Kernel()
    kernel.enum("hugetlb_page_flags", ["HPG_restore_reserve", "HPG_migratable", "HPG_freed"])
    private = np.array([4, 2, 3, 0, 0, 6], np.uint64)
    mapping = np.array([0, BASE, BASE + 1, BASE, 0, BASE], np.uint64)
    states = HugetlbStates(kernel.prog).states(private, mapping)
    assert [HugetlbState(state).name for state in states] == [
        *("FREE", "FILE", "ANON", "FILE", "OTHER", "FREE")
    ]


def test_a_kernel_without_the_flags() -> None:
    with pytest.raises(MissingStructureError, match="flags of huge pages"):
        HugetlbStates(Kernel().prog)
