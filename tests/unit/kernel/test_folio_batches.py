# SPDX-License-Identifier: GPL-2.0-only
"""References of per-CPU folio batches, in memory made by hand."""

from typing import Any

import numpy as np
import pytest
from kernel_by_hand import BASE, Kernel
from synthetic import MODERN, SIZE, VMEMMAP

from pageinspect.kernel import folio_batches
from pageinspect.kernel.folio_batches import read_batch_references
from pageinspect.kernel.structures import MissingStructureError


def page(pfn: int) -> int:
    return VMEMMAP + pfn * SIZE


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Give a kernel of one CPU, whose per-CPU variables are where the variables are."""
    made = Kernel()
    monkeypatch.setattr(folio_batches, "for_each_possible_cpu", lambda _: [0])
    monkeypatch.setattr(folio_batches, "per_cpu", lambda variable, _cpu: variable)
    return made


def batch(kernel: Kernel, nr: int, *pages: int) -> bytes:
    words = [*pages, *[0] * (15 - len(pages))]
    return bytes([nr, *[0] * 7]) + np.array(words, np.uint64).tobytes()


def batches(kernel: Kernel, *contents: bytes) -> Any:
    of = kernel.struct("folio_batch", nr=kernel.char, folios=kernel.array(kernel.void_p, 15))
    both = kernel.struct("cpu_fbatches", lock=kernel.ulong, lru_add=of, lru_activate=of)
    at = kernel.variable("cpu_fbatches", both)
    for i, content in enumerate(contents):
        kernel.write(at + 8 + i * 128, content)
    return of


def test_each_entry_is_a_reference(kernel: Kernel) -> None:
    # What is behind the entries of a batch is left over.
    of = batches(
        kernel,
        batch(kernel, 3, page(7), page(0x2000), page(7), page(9)),
        batch(kernel, 1, page(0x2000)),
    )
    fbatch = kernel.struct("mlock_fbatch", lock=kernel.ulong, fbatch=of)
    at = kernel.variable("mlock_fbatch", fbatch)
    # mlock() has flags in the low bits.
    kernel.write(at + 8, batch(kernel, 2, page(8) | 2, page(7) | 1))
    found = read_batch_references(kernel.prog, MODERN)
    assert found.pfns.tolist() == [7, 8, 0x2000]
    assert found.references.tolist() == [3, 1, 2]
    assert found.unreadable == 0
    assert found.of(np.array([6, 7, 8, 0x2000, 0x2001])).tolist() == [0, 3, 1, 2, 0]


def test_damaged_batches_are_counted(kernel: Kernel) -> None:
    batches(kernel, batch(kernel, 100, page(7)), batch(kernel, 2, page(5) + 8, BASE))
    found = read_batch_references(kernel.prog, MODERN)
    assert (found.pfns.tolist(), found.unreadable) == ([], 2)
    assert found.of(np.array([7])).tolist() == [0]


def test_a_kernel_without_batches(kernel: Kernel) -> None:
    with pytest.raises(MissingStructureError, match="folio batches"):
        read_batch_references(kernel.prog, MODERN)
