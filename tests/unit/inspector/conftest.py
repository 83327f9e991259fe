# SPDX-License-Identifier: GPL-2.0-only
"""A kernel made by hand, for the tests of what names owners."""

import pytest
from owned_pages import OwnedPages, filled

from pageinspect.inspector import owner_finder


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> OwnedPages:
    """Give a kernel with owners of several kinds."""
    kernel = filled()
    monkeypatch.setattr(owner_finder, "read_structures", kernel.read_structures)
    return kernel
