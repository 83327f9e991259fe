# SPDX-License-Identifier: GPL-2.0-only
"""Parquet: the rows of csv with their types, as pyarrow reads them."""

import io
import json
from collections import deque
from typing import Any

import pyarrow.parquet
import pytest
from every_report import REPORTS

from pageinspect.cli.output import report_stream
from pageinspect.errors import PageInspectError, UsageError
from pageinspect.render import render


def binary() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8")


@pytest.mark.parametrize("name", REPORTS)
def test_parquet_has_the_rows_of_json_lines(name: str) -> None:
    stream = binary()
    render(REPORTS[name](), "parquet", stream)
    rows = pyarrow.parquet.read_table(stream.buffer).to_pylist()
    lines = io.StringIO()
    render(REPORTS[name](), "jsonl", lines)
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert len(rows) == len(records)
    for row, record in zip(rows, records, strict=True):
        for key, value in record.items():
            if not isinstance(value, str | dict | list):
                assert row[key] == value or isinstance(row[key], str), key


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_no_binary_data() -> None:
    with pytest.raises(UsageError, match="binary"):
        render(REPORTS["types"](), "parquet", Terminal())


class Full(io.RawIOBase):
    left = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self.left:
            raise OSError(28, "No space left on device")
        return len(data)


def test_a_full_disk_is_an_error_of_the_report() -> None:
    disk = Full()
    stream = io.TextIOWrapper(io.BufferedWriter(disk), encoding="utf-8")
    output = report_stream(stream)
    reports = [REPORTS["types"]()] * 100
    with pytest.raises(PageInspectError, match="No space left"):
        deque((render(each, "parquet", output) for each in reports), 0)
    disk.left = 1
    stream.close()
