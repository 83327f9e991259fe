# SPDX-License-Identifier: GPL-2.0-only
"""What vm list shows."""

import csv
import io
import json
from pathlib import Path

import pytest

from pageinspect.cli.main import main


def test_list_shows_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path))
    assert main(["vm", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:5]] == [
        ["6.1", "bookworm", "not", "built", "no"],
        ["6.12", "trixie", "not", "built", "no"],
        ["newest", "trixie-backports", "not", "built", "no"],
    ]
    assert main(["vm", "list", "--format", "json"]) == 0
    kernels = json.loads(capsys.readouterr().out)["kernels"]
    assert [(k["name"], k["series"], k["release"]) for k in kernels] == [
        ("6.1", "6.1", None),
        ("6.12", "6.12", None),
        ("newest", "newest", None),
    ]
    assert main(["vm", "list", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [{**k, "release": "", "bytes": "", "debuginfo": "false"} for k in kernels] == rows
