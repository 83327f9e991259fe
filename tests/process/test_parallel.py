# SPDX-License-Identifier: GPL-2.0-only
"""Work in several processes: in order, with its errors, and none is left behind."""

import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pageinspect.cli import parallel
from pageinspect.cli.walking import fold_pieces
from pageinspect.errors import PageInspectError, UsageError
from pageinspect.model.provenance import GuestState, Provenance

SOON = 10.0


def gone(pid: int) -> bool:
    """Return whether a process has ended; one that nobody has waited for yet has."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")")[-1].split()[0] == "Z"
        )
    except (FileNotFoundError, ProcessLookupError):
        return True


def soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SOON
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50])
def test_results_come_in_order(n: int) -> None:
    pieces = list(range(20))
    assert list(parallel.in_order(lambda piece: piece * piece, pieces, n)) == [
        p * p for p in pieces
    ]


def test_other_processes_do_the_work() -> None:
    pids = set(parallel.in_order(lambda _piece: os.getpid(), range(6), 2))
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert all(gone(pid) for pid in pids)


def test_large_results_pass() -> None:
    sizes = [
        len(result) for result in parallel.in_order(lambda n: b"x" * n, [1 << 22, 0, 1 << 20], 2)
    ]
    assert sizes == [1 << 22, 0, 1 << 20]


def test_an_error_of_the_work_is_raised_here() -> None:
    def work(piece: int) -> int:
        if piece == 2:
            raise UsageError("no such piece", "take another")
        return piece

    results = parallel.in_order(work, range(4), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(UsageError, match="no such piece") as caught:
        next(results)
    assert caught.value.hint == "take another"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1])
def test_a_process_that_dies_is_an_error(number: signal.Signals) -> None:
    def work(piece: int) -> int:
        if piece == 3:
            os.kill(os.getpid(), number)
        return piece

    results = parallel.in_order(work, range(6), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(PageInspectError, match=f"was ended by {number.name}") as caught:
        next(results)
    # What the kernel kills for want of memory gets SIGKILL.
    assert ("out of memory" in caught.value.hint) == (number == signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_what_the_parent_does_at_a_signal_is_not_for_the_others(number: signal.Signals) -> None:
    before = signal.signal(number, lambda *_: sys.exit(1))
    try:
        with pytest.raises(PageInspectError, match=f"was ended by {number.name}"):
            list(parallel.in_order(lambda _: os.kill(os.getpid(), number), [1, 2], 2))
    finally:
        signal.signal(number, before)


SIGNALLED = """
import os, signal, sys
from pageinspect.cli import parallel
from pageinspect.errors import PageInspectError

def end(number, frame):
    print("the parent's clean-up", flush=True)
    sys.exit(1)

signal.signal(signal.SIGTERM, end)
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
try:
    list(parallel.in_order(lambda piece: piece, [1, 2], 2))
except PageInspectError as error:
    print(error.message)
"""


def test_nor_is_it_in_the_first_moment_of_a_process() -> None:
    command = [sys.executable, "-c", SIGNALLED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("a process that read pages was ended by SIGTERM\n", "")
    assert done.returncode == 0


def test_a_process_that_exits_is_an_error() -> None:
    with pytest.raises(PageInspectError, match="failed"):
        list(parallel.in_order(lambda _piece: os._exit(0), range(2), 2))


def test_leaving_early_ends_all() -> None:
    results = parallel.in_order(lambda _piece: os.getpid(), range(1000), 2)
    pids = [next(results), next(results)]
    results.close()
    assert all(gone(pid) for pid in pids)


PROGRAM = """
import os, sys, time
from pageinspect.cli import parallel
def work(piece):
    if piece > 1:
        time.sleep(1e6)
    return os.getpid()
for pid in parallel.in_order(work, range(4), 2):
    print(pid, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_its_parent(number: signal.Signals) -> None:
    started = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    with started:
        assert started.stdout is not None
        pids = [int(started.stdout.readline()) for _ in range(2)]
        assert not any(gone(pid) for pid in pids)
        started.send_signal(number)
        assert started.wait(SOON) != 0
        assert soon(lambda: all(gone(pid) for pid in pids))


def test_what_is_available_can_be_used() -> None:
    assert 1 <= parallel.available() <= (os.cpu_count() or 1)


GUEST = Provenance("7.0", "qemu", "btf", guest=GuestState(paused=True, denied="no rights"))


@pytest.mark.parametrize(
    ("provenance", "jobs", "gib", "n"),
    [
        (Provenance("7.0", "core", "btf"), None, 3, 1),
        (Provenance("7.0", "core", "btf"), None, 4, 2),
        (Provenance("7.0", "live", "btf"), None, 7, 1),
        (Provenance("7.0", "live", "btf"), None, 8, 2),
        (Provenance("7.0", "core", "btf"), 3, 1, 3),
        # A monitor would mix up the answers to several.
        (GUEST, None, 64, 1),
        (GUEST, 3, 1, 1),
    ],
)
def test_how_many_processes_walk(
    provenance: Provenance, jobs: int | None, gib: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pageinspect.cli.parallel.available", lambda: 2)
    inspector: Any = SimpleNamespace(mapped=None, target=SimpleNamespace(provenance=provenance))
    inspector.mapping = lambda: inspector
    memory = [(0, gib << 18)]
    pids = set(fold_pieces(Namespace(jobs=jobs), inspector, memory, lambda *_: os.getpid()))
    assert len(pids) == n
    assert (os.getpid() in pids) == (n == 1)
