# SPDX-License-Identifier: GPL-2.0-only
"""The scheme of tomorrow: the type in the low bits of a 64-bit word, on words by hand."""

import numpy as np
from synthetic import MEMDESC

from pageinspect.model.page_types import Reading

SCHEME = MEMDESC.scheme
DESCRIPTOR = 0xFFFF888100000040
WORDS = np.array([0, 1, DESCRIPTOR | 4, DESCRIPTOR, DESCRIPTOR | 7], np.uint64)


def test_readings() -> None:
    assert SCHEME.readings(WORDS).tolist() == [
        Reading.RESET,
        Reading.TYPE,
        Reading.TYPE,
        Reading.OVERFLOW,
        Reading.TYPE,
    ]
    assert SCHEME.slots(WORDS).tolist() == [0, 1, 4, 0, 7]
    assert SCHEME.low_bits(WORDS).tolist() == [0] * 5


def test_what_a_reduced_word_leaves_out_is_not_read() -> None:
    reduced = SCHEME.reduced(WORDS)
    assert reduced.tolist() == [0, 1, 4, 16, 7]
    assert (SCHEME.readings(reduced) == SCHEME.readings(WORDS)).all()
    assert (SCHEME.slots(reduced) == SCHEME.slots(WORDS)).all()


def test_names_and_values() -> None:
    assert SCHEME.slot_value(9) == "0x9"
    assert [SCHEME.slot_name(slot) for slot in (4, 7)] == ["slab", "type_0x7"]
    assert SCHEME.hex(DESCRIPTOR | 4) == "0xffff888100000044"
    assert SCHEME.hex(1) == "0x0000000000000001"
