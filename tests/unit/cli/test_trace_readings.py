# SPDX-License-Identifier: GPL-2.0-only
"""A trace as its options ask for it."""

import pytest

from pageinspect.cli.parser import build_parser
from pageinspect.cli.trace_readings import announce


def test_it_says_when_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    for words, until in (
        ([], "Ctrl-C"),
        (["-d", "2.5"], "2.5 s or Ctrl-C"),
        (["-d", "60", "--", "a\x1bb", "c"], "the end of a\\x1bb or 60 s or Ctrl-C"),
    ):
        announce(build_parser().parse_args(["trace", *words]))
        assert capsys.readouterr().err == f"pageinspect: tracing until {until}\n"
