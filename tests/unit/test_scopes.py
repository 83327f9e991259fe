# SPDX-License-Identifier: GPL-2.0-only
"""Tests that share a guest run in one process, and others do not wait for them."""

import pytest
from scopes import scope_of


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("vm/test_a.py::test_a[6.1]", "vm/test_a.py::test_b[6.1-3-x]", True),
        ("vm/test_a.py::test_a[6.1]", "vm/test_a.py::test_a[6.12]", False),
        ("vm/test_a.py::test_a[6.12]", "vm/test_a.py::test_b[6.12 with HVO]", True),
        ("vm/test_a.py::test_a[two nodes, 6.1-6.12]", "vm/test_a.py::test_b[1-6.12]", True),
        ("vm/test_a.py::test_a[newest]", "vm/test_b.py::test_a[newest]", False),
        ("vm/test_a.py::test_a[shared newest]", "vm/test_b.py::test_a[shared newest-0]", True),
        ("vm/test_a.py::test_a[shared newest]", "vm/test_a.py::test_a[newest]", False),
        ("vm/test_a.py::test_a[dump of 6.1]", "vm/test_b.py::test_a[dump of 6.1-x]", True),
        ("vm/test_a.py::test_a[dump of 6.1]", "vm/test_a.py::test_a[dump of 6.12]", False),
        ("vm/test_a.py::test_a[dump of 6.1]", "vm/test_a.py::test_a[shared 6.1]", False),
        ("vm/test_a.py::test_a", "vm/test_a.py::test_b[x]", True),
        ("unit/test_a.py::test_a[6.1]", "unit/test_a.py::test_a[6.12]", True),
        ("unit/test_a.py::test_a", "process/test_a.py::test_a", False),
    ],
)
def test_tests_of_one_module_and_kernel_stay_together(
    one: str, other: str, *, together: bool
) -> None:
    assert (scope_of(f"tests/{one}") == scope_of(f"tests/{other}")) == together
