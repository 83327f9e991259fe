# SPDX-License-Identifier: GPL-2.0-only
"""Which tests run one after the other in one process: those that share a guest or a dump."""

import re

from pageinspect.vm import catalogue

SHARED = "shared "
"""How the parameter begins of tests that share a guest with other modules."""
DUMPED = "dump of "
"""How the parameter begins of tests that share dumps with other modules."""
_NAMES = "|".join(re.escape(name) for name in sorted(catalogue.kernels(), reverse=True))
_KERNEL = re.compile(rf"\[(?:.*[ -])?({_NAMES})(?=[] -])")


def scope_of(test: str) -> str:
    """Return the scope of a test by its id: a module, or one kernel of a module with guests."""
    module, _, name = test.partition("::")
    kernel = _KERNEL.search(name)
    if kernel is None or not module.startswith("tests/vm/"):
        return module
    shared = [prefix for prefix in (SHARED, DUMPED) if prefix in kernel[0]]
    return f"{shared[0] if shared else module + ' '}{kernel[1]}"
