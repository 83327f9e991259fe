# SPDX-License-Identifier: GPL-2.0-only
"""Reports of the modes of trace beside a command that outlives the trace."""

import json
import os
import signal
from argparse import Namespace
from pathlib import Path
from typing import Any, cast

import pytest
from fake_program import FakeProgram
from outstanding_by_hand import outstanding
from waiting import until

from pageinspect.cli.trace_readings import write_reports
from pageinspect.report.outstanding import OutstandingReport
from pageinspect.trace.records import Interval

pytestmark = pytest.mark.usefixtures("handlers_stay")


def test_pages_are_looked_at_while_the_command_has_them(tmp_path: Path) -> None:
    noted, output = tmp_path / "pid", tmp_path / "report.json"
    command = ["sh", "-c", f"echo $$ > {noted}; exec sleep 600"]
    args = Namespace(
        format="json",
        duration=0.3,
        interval=None,
        every=None,
        command=command,
        output=output,
        mode=None,
    )
    runs: list[bool] = []

    def report_of(_: Interval[Any]) -> OutstandingReport:
        # A busy machine may start it later than the time to count for is over.
        until(lambda: noted.exists() and noted.read_text(encoding="utf-8").endswith("\n"))
        os.kill(int(noted.read_text(encoding="utf-8")), 0)
        runs.append(True)
        return outstanding()

    write_reports(args, cast("Any", FakeProgram()), report_of)
    assert runs == [True]
    document = json.loads(output.read_text(encoding="utf-8"))
    assert document["command_status"] == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text(encoding="utf-8")), 0)
