# SPDX-License-Identifier: GPL-2.0-only
"""What trace --life and --types-at-alloc write on stderr."""

from argparse import Namespace
from pathlib import Path

import pytest
from lives_by_hand import allocations, life

from pageinspect.cli.trace_pages import _write
from pageinspect.render import FORMATS
from pageinspect.trace.life_records import LifeLost


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("lost", [0, 3])
def test_what_is_lost_is_on_stderr_where_the_form_has_no_place(
    form: str, lost: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = Namespace(format=form, output=tmp_path / "report", mode=None)
    for report in (life(lost=LifeLost(missed=lost)), allocations(missed=lost)):
        _write(args, report, lost)
        said = capsys.readouterr().err
        assert ("Lost: 3 " in said) == bool(lost and form in ("csv", "jsonl", "parquet"))
        assert args.output.stat().st_size
