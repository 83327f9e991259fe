# SPDX-License-Identifier: GPL-2.0-only
"""The command line of vm build."""

import pytest

from pageinspect.cli.main import main


@pytest.mark.parametrize("line", ["vm build --suite x", "vm build 6.1 --suite x --series 6.1"])
def test_suite_and_series_go_together(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert "--suite and --series go together" in capsys.readouterr().err
