"""Of all tests: their options, and PAGEINSPECT_REQUIRE_ALL=1, which makes a skip a failure."""

import os
from collections.abc import Iterator

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write generated documents instead of comparing",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if os.environ.get("PAGEINSPECT_REQUIRE_ALL") == "1" and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, but PAGEINSPECT_REQUIRE_ALL is set: {report.longrepr}"
    return report
