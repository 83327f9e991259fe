# SPDX-License-Identifier: GPL-2.0-only
"""The options of audit, and its errors, without a core."""

import pytest

from pageinspect.cli.main import main


@pytest.mark.parametrize("level", ["-1", "32", "all", ""])
def test_dump_levels_that_there_are_not(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", f"--dump-level={level}"]) == 2
    assert "dump level" in capsys.readouterr().err


def test_this_kernel_lacks_no_pages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit"]) == 3
    message, hint = capsys.readouterr().err.splitlines()
    assert "only a core can lack pages" in message
    assert "pageinspect audit CORE" in hint
