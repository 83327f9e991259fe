# SPDX-License-Identifier: GPL-2.0-only
"""Distinct values of arrays."""

import numpy as np
import pytest

from pageinspect.classify.batches import grouped


@pytest.mark.parametrize("values", [[], [7], [3, 1, 3, 2, 2, 9], [1, 1, 2], [5, 4, 3]])
def test_distinct_values_and_their_places(values: list[int]) -> None:
    given = np.array(values, np.int64)
    distinct, places = grouped(given)
    assert distinct.tolist() == sorted({*values})
    assert distinct[places].tolist() == values
