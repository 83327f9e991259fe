# SPDX-License-Identifier: GPL-2.0-only
"""drgn's prompt on a terminal."""

import os
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_READY = b"ready> "
_DEADLINE_S = 120


class Prompt:
    """drgn on a core, in a terminal of 80 columns; `environment` is added to this one."""

    def __init__(self, core: Path, folder: Path, **environment: str) -> None:
        self._terminal, slave = os.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        environment = {
            **{name: value for name, value in os.environ.items() if "DRGN" not in name},
            "HOME": str(folder),
            "PAGEINSPECT_CACHE": str(folder / "cache"),
            "PYTHON_BASIC_REPL": "1",
            "TERM": "dumb",
            **environment,
        }
        command = [sys.executable, "-m", "drgn", "-c", str(core)]
        self._drgn = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True
        )
        os.close(slave)
        self.banner = self.ask(f"import sys; sys.ps1 = {_READY.decode()!r}")

    def ask(self, line: str) -> str:
        """Type a line, and return what is written until the next prompt."""
        os.write(self._terminal, line.encode() + b"\n")
        end = time.monotonic() + _DEADLINE_S
        seen = b""
        while not seen.endswith(b"\n" + _READY):
            assert select.select([self._terminal], [], [], max(end - time.monotonic(), 0))[0], seen
            seen += os.read(self._terminal, 1 << 16)
        text = seen.decode().replace("\r\n", "\n").removesuffix(_READY.decode())
        return text.partition("\n")[2]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        os.write(self._terminal, b"\x04")
        try:
            self._drgn.wait(20)
        finally:
            self._drgn.kill()
            self._drgn.wait()
            os.close(self._terminal)
