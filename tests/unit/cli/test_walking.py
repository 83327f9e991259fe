# SPDX-License-Identifier: GPL-2.0-only
"""How a walk is shared out, and the progress bar as a terminal shows it."""

import io
import os
import re
import sys
import termios
from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest

from pageinspect.cli.walking import fold_pieces
from pageinspect.inspector.fold import SECTIONS_READ
from pageinspect.model import ranges
from pageinspect.model.arch import SECTION_PFNS
from pageinspect.model.provenance import Provenance

WANTED = [(0, 3 * SECTIONS_READ * SECTION_PFNS)]


def on_terminal(monkeypatch: pytest.MonkeyPatch, pause: float, stdout: bool) -> tuple[str, str]:
    """Return what a terminal got of a walk that prints a row a piece, and what stdout got."""
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(sys, "stdout", terminal if stdout else io.StringIO())
        target = SimpleNamespace(provenance=Provenance("7.0", "live", "btf"))
        inspector: Any = SimpleNamespace(mapped=None, target=target)
        args = Namespace(jobs=1, output=None)

        now = [1000.0]
        monkeypatch.setattr("tqdm.std.time", lambda: now[0])

        def work(*_: object) -> None:
            now[0] += pause

        for number, _ in enumerate(fold_pieces(args, inspector, WANTED, work, streamed=True)):
            sys.stdout.write(f"row {number}\n")
            sys.stdout.flush()
        got = "" if stdout else sys.stdout.getvalue()  # type: ignore[attr-defined]
        terminal.write("end")
        terminal.flush()
        seen = b""
        while not seen.endswith(b"end"):
            seen += os.read(master, 1 << 16)
    os.close(master)
    return seen.decode(), got


def shown(seen: str) -> list[str]:
    """Return the lines that a terminal ends up with."""
    lines = []
    for line in seen.replace("\r\n", "\n").split("\n"):
        final = ""
        for written in line.split("\r"):
            final = written + final[len(written) :]
        lines.append(final.rstrip())
    return lines


@pytest.mark.parametrize("stdout", [True, False])
def test_the_bar_makes_way_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, stdout: bool
) -> None:
    seen, got = on_terminal(monkeypatch, 0.6, stdout)
    rows = ["row 0", "row 1", "row 2"]
    assert shown(seen) == [*(rows if stdout else []), "end"]
    assert stdout or got.split("\n") == [*rows, ""]
    assert "262k/393k" in seen
    # Time taken and left, and pages per second.
    assert re.search(r"\[00:0\d<00:00", seen)
    assert "pages/s" in seen


def test_what_is_soon_done_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_terminal(monkeypatch, 0.0, stdout=True)[0] == "row 0\r\nrow 1\r\nrow 2\r\nend"


def test_a_slow_target_is_walked_in_small_pieces() -> None:
    target = SimpleNamespace(provenance=Provenance("7.0", "live", "btf"))
    inspector: Any = SimpleNamespace(mapped=None, target=target)
    memory = [(0, 32 * SECTION_PFNS)]
    args = Namespace(jobs=1, output=None)
    pieces = list(
        fold_pieces(args, inspector, memory, lambda _inspector, piece: ranges.count(piece))
    )
    assert sum(pieces) == ranges.count(memory)
    assert len(pieces) == 8
