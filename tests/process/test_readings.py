# SPDX-License-Identifier: GPL-2.0-only
"""Ctrl-C ends the readings of -i, as a terminal sends it to all processes of the command."""

import json
import os
import signal
import subprocess
import sys

import pytest
from waiting import children, has_ended, until

# The command itself, on a kernel whose reports are made here.
PROGRAM = """
import sys, time
from types import SimpleNamespace
from pageinspect.cli.commands import owners
from pageinspect.cli.main import entry
from pageinspect.cli.parallel import in_order
from pageinspect.model.provenance import Provenance
from pageinspect.report import Coverage
from pageinspect.report.owners import OwnerRow, OwnersReport

WHERE = "{where}"
LAYOUT = SimpleNamespace(page_size=4096, scheme=SimpleNamespace(name="made"))
LIVE = Provenance("7.3.4-test", "live", "btf")

class Kernel:
    readings = 0

    def owners(self, by, request, top, name_all):
        self.readings += 1
        if self.readings > 2 and WHERE == "walk":
            list(in_order(lambda _: time.sleep(600), [1, 2], 2))
        if self.readings > 2 and WHERE == "read":
            time.sleep(600)
        rows = (OwnerRow("slab", "", self.readings),)
        return OwnersReport(LIVE, LAYOUT, Coverage(9, 0), by, rows, top=top)

kernel = Kernel()
owners.open_source = lambda _: kernel
sys.argv[0] = "pageinspect"
entry()
"""


@pytest.mark.parametrize("source", [(), ("--qemu", "socket")], ids=["here", "apart"])
@pytest.mark.parametrize(("where", "interval"), [("wait", 600), ("read", 0.01), ("walk", 0.01)])
def test_an_interrupt_ends_them(where: str, interval: float, source: tuple[str, ...]) -> None:
    words = ["owners", *source, "-i", str(interval), "--format", "json"]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("{where}", where), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(1 if where == "wait" else 2)]
            child = children(process.pid)[0] if source else process.pid
            until(lambda: where != "walk" or len(children(child)) == 2)
            walkers = children(child)
            os.killpg(process.pid, signal.SIGINT)
            rest, said = process.communicate(timeout=20)
            assert (process.returncode, rest, said) == (0, "", "")
            until(lambda: all(map(has_ended, (child, *walkers))))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    pages = [json.loads(line)["rows"][0]["pages"] for line in lines]
    assert pages == [1, 2][: len(lines)]
