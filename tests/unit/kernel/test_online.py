# SPDX-License-Identifier: GPL-2.0-only
"""How many memory sections a core can have."""

from pathlib import Path

import pytest

from pageinspect.errors import PageInspectError
from pageinspect.kernel.online import check_sections, max_sections


def test_a_core_has_a_page_for_each_section(tmp_path: Path) -> None:
    core = tmp_path / "core"
    core.write_bytes(bytes(3 * 4096 + 1))
    most = max_sections(core)
    check_sections(3, most)
    check_sections(1 << 25, None)
    with pytest.raises(PageInspectError, match=r"claims 4 memory sections, .* has room for 3"):
        check_sections(4, most)
