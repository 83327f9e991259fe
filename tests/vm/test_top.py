# SPDX-License-Identifier: GPL-2.0-only
"""`top` in a terminal: inside a guest, and outside on its memory; and its tracer inside a guest."""

import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import guest_libraries
import pytest
from terminal import Pane, pane

from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel
from pageinspect.vm.process import GuestProcess

# It waits several times for what an emulated processor takes long for.
pytestmark = pytest.mark.timeout(1800)

HERE = {"PYTHONPATH": os.pathsep.join(sys.path)}
MEMORY = 64 << 20
HOLD = f"import time; held = bytearray({MEMORY}); print('held', flush=True); time.sleep(900)"
HOLDING = r"python3 +(6[4-9]|7\d)\.\d+ MiB"
"""The name and the memory of the process that holds it, on the screen."""
HOSTILE = "[red]x[b]"
_BEGINNING_S = 300.0
UNCHANGED = re.compile(r"^anon +[\d,]+ +\S+ +[\d,]+ +\S+ \S+$", re.MULTILINE)
SHARE = 0.15
"""Of a processor, at an interval of 2 s: see docs/top.md."""

FREES = """
import json
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.source import KernelSource
from pageinspect.screen.frees import FreesTab
from pageinspect.screen.reader import Reader
from pageinspect.target.open import open_target
from pageinspect.target.symbols.sources import SymbolOptions

target = open_target(None, SymbolOptions())
reader = Reader(KernelSource(target, fold_here), target.provenance, FreesTab(target))
tab = {"what": "tab", "name": "Frees"}

def frees():
    reading = reader.answer(tab)
    types = reading.column("type").texts
    lost = {"lost": int(reading.note.split()[0]) if reading.note else 0}
    return lost | dict(zip(types, reading.column("pages").values)) if types else lost

frees()
held = bytearray(32 << 20)
for i in range(0, len(held), 4096):
    held[i] = 1
del held
before = frees()
reader.answer({**tab, "mark": True})
after = frees()
reader.answer({"what": "tab", "name": "Uses"})
print(json.dumps([before, after, reader.frees._tracer is None]))
"""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all below it; none of them ends meanwhile."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(cpu_seconds, map(int, below)))


@pytest.fixture(scope="module")
def watched(
    ready: Callable[[str], BuiltKernel], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Guest, Path]]:
    kernel, socket = ready("newest"), tmp_path_factory.mktemp("qmp") / "socket"
    with (
        guest_libraries.disk() as scratch,
        Guest(kernel, memory="4G", qmp_socket=socket, scratch=scratch) as running,
    ):
        guest_libraries.mount(running)
        yield running, socket


@contextmanager
def terminal_of(
    guest: Guest, command: list[str], folder: Path
) -> Iterator[tuple[Pane, GuestProcess]]:
    """Run a command in a terminal of the guest, 80x24; the pane shows what is written to it."""
    stream = folder / "stream"
    os.mkfifo(stream)
    # What tmux answers to questions about the terminal is not to be shown.
    shows = ["sh", "-c", f"stty raw -echo; exec cat {shlex.quote(str(stream))}"]
    with pane(shows) as shown, stream.open("wb", buffering=0) as out:
        yield shown, guest.start(command, tty=(24, 80), on_output=lambda _, data: out.write(data))


def test_the_tracer_counts_while_its_tab_is_shown(watched: tuple[Guest, Path]) -> None:
    said = watched[0].run(["python3", "-P", "-c", FREES]).stdout
    before, after, closed = json.loads(said)
    # The last pages that it touched may be on another CPU's list, and be freed there later.
    assert before["untyped"] + before["lost"] >= 0.99 * ((32 << 20) // 4096)
    assert after["untyped"] < before["untyped"]
    assert closed


def test_this_kernel_in_a_terminal_of_a_guest(watched: tuple[Guest, Path], tmp_path: Path) -> None:
    guest, _ = watched
    guest.run(["sh", "-c", "echo 8 > /proc/sys/vm/nr_hugepages"])
    holder = guest.start(["python3", "-c", HOLD])
    holder.wait_for_output(b"held", 240)
    with terminal_of(guest, ["pageinspect", "top"], tmp_path) as (terminal, process):
        # An emulated processor takes long to load what the screen is made of, and to draw it.
        shown = terminal.wait(
            lambda text: "this kernel" in text and pages(text, "hugetlb") == 8 * 512, _BEGINNING_S
        )
        assert "change since" in shown[2]
        process.write(b"3")
        of_holder = re.compile(rf"^ *{holder.pid} .*{HOLDING}", re.MULTILINE)
        terminal.wait(of_holder.search)
        terminal.resize(40, 12)
        process.resize(12, 40)
        terminal.wait(lambda text: text.split("\n")[11].endswith("? help  q quit"))
        process.write(b"q")
        assert process.wait(240) == 0
        # The screen is as it was before.
        terminal.wait(lambda text: not text.strip("\n"))
    holder.send_signal(signal.SIGKILL)


def test_a_guest_in_a_terminal(watched: tuple[Guest, Path]) -> None:
    guest, socket = watched
    guest.run(["sh", "-c", f"cp /usr/bin/sleep '/tmp/{HOSTILE}'; '/tmp/{HOSTILE}' 900 &"])
    command = [sys.executable, "-m", "pageinspect", "top", "--qemu", str(socket)]
    with pane(command, HERE) as terminal:
        terminal.wait(lambda text: "buddy" in text)
        first = terminal.wait(lambda text: pages(text, "anon"))
        before = pages("\n".join(first), "anon")
        guest.start(["python3", "-c", HOLD])
        # Its memory appears without a key, as a change.
        grown = terminal.wait(lambda text: pages(text, "anon") >= before + MEMORY // 4096)
        (row,) = [line for line in grown if line.startswith("anon ")]
        assert int(row.split()[2].replace(",", "")) >= MEMORY // 4096
        terminal.keys("m")
        terminal.wait(UNCHANGED.search)
        terminal.keys("3")
        terminal.wait(lambda text: HOSTILE in text and re.search(HOLDING, text))
        terminal.keys("2")
        terminal.wait(lambda text: "struct pages" in text)
        shares = {}
        for key, name in (("1", "Uses"), ("2", "Owners")):
            terminal.keys(key)
            time.sleep(6)
            spent, began = cpu_seconds(terminal.pid), time.monotonic()
            time.sleep(30)
            # As many readings as intervals, and one more, may begin within this time.
            length = time.monotonic() - began + interval(terminal.lines())
            shares[name] = (cpu_seconds(terminal.pid) - spent) / length
        sys.stdout.write(f"{shares}\n")
        assert max(shares.values()) <= SHARE
        terminal.keys("p")
        terminal.wait(lambda text: "paused" in text)
        time.sleep(3)
        spent = cpu_seconds(terminal.pid)
        time.sleep(10)
        assert cpu_seconds(terminal.pid) - spent < 0.5
        # The monitor is gone: a line at the bottom, and the rows stay.
        guest.close()
        terminal.keys("r")
        terminal.wait(lambda text: "struct pages" in text and "pausing" not in text)
        terminal.keys("q")
        terminal.wait(lambda text: "status 0" in text)


def pages(text: str, use: str) -> int:
    """Return the pages of a use on the screen, 0 if it is not there."""
    row = re.search(rf"^{use} +([\d,]+) ", text, re.MULTILINE)
    return int(row[1].replace(",", "")) if row else 0


def interval(lines: list[str]) -> float:
    """Return the seconds between two readings, which are more where a reading takes long."""
    (found,) = re.findall(r"\bevery ([\d.]+) s\b", "\n".join(lines))
    return float(found)
