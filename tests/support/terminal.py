# SPDX-License-Identifier: GPL-2.0-only
"""A real terminal: a pane of tmux, whose text can be read."""

import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_PATIENCE_S = 180.0


@dataclass(frozen=True)
class Pane:
    """A command in a terminal."""

    socket: Path
    pid: int
    """Of the shell that runs the command."""

    def keys(self, *names: str) -> None:
        """Press keys, by tmux's names of them."""
        _tmux(self.socket, "send-keys", *names)

    def lines(self) -> list[str]:
        """Return what is on the screen."""
        return _tmux(self.socket, "capture-pane", "-p").split("\n")

    def wait(self, shows: Callable[[str], object], patience: float = _PATIENCE_S) -> list[str]:
        """Return the screen when it shows what is waited for, for at most `patience` seconds."""
        end = time.monotonic() + patience
        while not shows(text := "\n".join(self.lines())):
            assert time.monotonic() < end, text
            time.sleep(0.1)
        return text.split("\n")

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size."""
        _tmux(self.socket, "resize-window", "-x", str(width), "-y", str(height))

    def close(self) -> None:
        """End the terminal, and what runs in it by SIGHUP."""
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], check=False)


def _tmux(socket: Path, *words: str) -> str:
    command = ["tmux", "-f", "/dev/null", "-S", str(socket), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def pane(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Pane]:
    """Run a command in a terminal of 80x24, which then shows its status; skip without tmux."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed: apt-get install tmux")
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="pane-") as folder:
        yield from _pane(Path(folder), command, environment or {})


def _pane(folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Pane]:
    socket, script = folder / "tmux", folder / "run"
    settings = "".join(f"export {key}='{value}'\n" for key, value in environment.items())
    quoted = shlex.join(command)
    script.write_text(f'{settings}{quoted}\necho "status $?"\nread -r _\n')
    _tmux(socket, "new-session", "-d", "-x", "80", "-y", "24", f"sh {script}")
    shown = Pane(socket, int(_tmux(socket, "display-message", "-p", "#{pane_pid}")))
    try:
        yield shown
    finally:
        shown.close()
