# SPDX-License-Identifier: GPL-2.0-only
"""Tracers that start and stop beside one that runs: `make soak` in short."""

import json

import pytest
from guest_quiet import QUIET

from pageinspect.vm.guest import Guest

PROGRAM = "/opt/pageinspect/src/tests/vm/programs/soak.py"
STARTS, SECONDS = 5, 20

# Six tracers are started.
pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("kernel", ["newest"], indirect=True)
def test_starts_and_stops_leave_nothing_behind(guest: Guest) -> None:
    # What is made huge under a tracer is no growth of it.
    guest.run(["sh", "-c", QUIET])
    argv = ["python3", PROGRAM, str(STARTS), str(SECONDS)]
    result = json.loads(guest.run(argv, timeout=1200).stdout)
    objects = result["objects"]
    # One program, its map and bcc's own; a raw tracepoint is a link.
    assert all(now > then for now, then in zip(objects["beside"], objects["before"], strict=True))
    assert all(now <= then for now, then in zip(objects["beside"], objects["alone"], strict=True))
    assert objects["after"] == objects["before"]
    assert result["status"] == (3 if result["lost"] else 0)
    assert len(result["starts_s"]) == STARTS
    assert result["memory_kib"][-1][0] >= SECONDS
    assert result["flat"], result["slope_kib"]
