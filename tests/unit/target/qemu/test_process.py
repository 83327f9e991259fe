# SPDX-License-Identifier: GPL-2.0-only
"""Where the memory of QEMU has that of its guest."""

import time
from typing import TYPE_CHECKING, cast

import pytest

from pageinspect.target.qemu import process
from pageinspect.target.qemu.process import DeniedError

if TYPE_CHECKING:
    from pageinspect.target.qemu.monitor import Monitor


class SlowMonitor:
    """A monitor that names many regions of RAM, and takes its time to say where each one is."""

    def human_command(self, line: str) -> str:
        if line == "info mtree -f":
            rows = (
                f"  {i:016x}-{i + 0xFFF:016x} (prio 0, ram): r\n" for i in range(0, 1 << 21, 4096)
            )
            return 'FlatView #0\n AS "memory", root: s\n Root memory region: s\n' + "".join(rows)
        time.sleep(0.05)
        return "Host virtual address for 0 (r) is 0x1000"


def test_all_questions_together_have_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOCATE_RAM_S", 0.3)
    with pytest.raises(DeniedError, match="took more than"):
        process._segments(cast("Monitor", SlowMonitor()), -1)
