# SPDX-License-Identifier: GPL-2.0-only
"""Of all tests: their options, and PAGEINSPECT_REQUIRE_ALL=1, which makes a skip a failure.

Only what the archive has no longer may still be skipped.
"""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from fixtures import (
    as_root,
    as_user,
    built_things,
    folder,
    handlers_stay,
    place,
    program,
    shared,
    theirs,
)
from hypothesis import HealthCheck, settings
from scopes import scope_of

__all__ = [
    "as_root",
    "as_user",
    "built_things",
    "folder",
    "handlers_stay",
    "place",
    "program",
    "shared",
    "theirs",
]

# A slow host is no failure, and what one failed of can be tried again.
for name, examples in (("short", 50), ("whole", 300)):
    settings.register_profile(
        name,
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )
settings.load_profile("short")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write generated documents instead of comparing",
    )


def pytest_configure() -> None:
    # Under nohup or in the background of a script they are ignored, and so in all that a test runs.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Make the scopes of --dist loadscope those of scope_of()."""
    from xdist.scheduler import LoadScopeScheduling

    class ByKernel(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    return ByKernel(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    # What Debian's archive drops in time nobody here can bring back.
    gone = call.excinfo is not None and str(call.excinfo.value).startswith("the archive has no ")
    if os.environ.get("PAGEINSPECT_REQUIRE_ALL") == "1" and report.skipped and not gone:
        report.outcome = "failed"
        report.longrepr = f"skipped, but PAGEINSPECT_REQUIRE_ALL is set: {report.longrepr}"
    return report
