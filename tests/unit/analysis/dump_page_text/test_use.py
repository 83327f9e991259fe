# SPDX-License-Identifier: GPL-2.0-only
"""The use of a page by a report, against the rules for memory."""

from pageinspect.analysis.dump_page_text import use
from pageinspect.classify.uses import RULES


def test_the_rules_are_some_of_those_for_memory_in_the_same_order() -> None:
    names = [name for name, _holds in use.RULES if name != "unknown"]
    assert names == [rule.use for rule in RULES if rule.use in names]
    assert len(names) == len(set(names)) > 10
