# SPDX-License-Identifier: GPL-2.0-only
"""What options of a trace compile into the BPF program."""

from synthetic import MODERN

from pageinspect.trace.kinds import TYPED, mask
from pageinspect.trace.options import TraceOptions


def test_stacks_are_taken_of_those_frees_whose_stack_is_wanted() -> None:
    one = frozenset({3})
    for options, of in (
        (TraceOptions(by=("comm",), disallowed=one), one),
        (TraceOptions(by=("caller",), disallowed=one), TYPED),
        (TraceOptions(stacks=True, kinds=frozenset({4}), disallowed=one), frozenset({3, 4})),
    ):
        defines = options.defines(MODERN)
        assert defines["STACK_SET"] == mask(of)
        assert ("BY_STACK" in defines) == (of != one)
    assert "STACK_SET" not in TraceOptions(by=("comm",), events=True).defines(MODERN)
