# SPDX-License-Identifier: GPL-2.0-only
"""In a guest, on its own kernel: compares our walk with the kernel's page-types tool."""

import json

from page_types import page_types
from results import accelerator
from timing import Line, Timing

from pageinspect.vm.catalogue import kernel
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import build

_PROGRAM = "/opt/pageinspect/src/benchmarks/live_walk.py"
_TOOL = "/run/page-types"
_PUT = f"cat > {_TOOL} && chmod +x {_TOOL}"


def live(guest: Guest, runs: int) -> list[Line]:
    """Compare in a guest of the newest kernel, whose memory is filled."""
    newest = kernel("newest")
    tool = page_types(newest, build(newest))
    guest.run(["sh", "-c", _PUT], input=tool.read_bytes())
    said = guest.run(["python3", _PROGRAM, _TOOL, str(runs)], timeout=None).stdout
    found = json.loads(said)
    times = {name: Timing(**each) for name, each in found["timings"].items()}
    under = accelerator(guest).split(maxsplit=1)[0]
    where = f"live, {under}, {found['pages']:,} pages"
    peer = "the kernel's page-types"
    return [
        Line(
            f"walk --by use -j 1, {where}",
            peer,
            times["walk"],
            times["page-types"],
            "at most",
            None,
        ),
        Line(
            f"summary --by use, {where}",
            peer,
            times["summary"],
            times["page-types"],
            "at most",
            None,
        ),
    ]
