"""Opens a QEMU guest from outside, through its monitor; nothing runs in the guest for it."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from drgn import Program

from ..drgn_log import hearing
from ..errors import PageInspectError
from ..symbols import Given
from ..target import Guest, Target, check_architecture, new_program, target_of
from .memory import MonitorMemory
from .monitor import Monitor

_OF_CPU = re.compile(r"CPU#(\d+)(.*?)(?=CPU#|\Z)", re.DOTALL)
_ENABLED = "QEMU process memory reading enabled"
_DISABLED = "QEMU process memory reading disabled: "


def _attach(prog: Program, monitor: Monitor) -> str:
    """Let drgn read the guest; return why not in QEMU's memory, or ""."""
    with hearing() as messages:
        try:
            prog.set_qemu_qmp(monitor.share())
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - drgn raises it for what QEMU answers
            raise PageInspectError(
                f"cannot read the guest at {monitor.path}: {str(error).splitlines()[0]}",
                "does QEMU still run? reading takes one of 2.8 or later",
            ) from None
    if any(message.startswith(_ENABLED) for message in messages):
        return ""
    reasons = [m.removeprefix(_DISABLED) for m in messages if m.startswith(_DISABLED)]
    return reasons[0] if reasons else "drgn does not say why"


@contextlib.contextmanager
def open_guest(
    socket: Path, given: Given | None = None, *, pause: bool = False
) -> Iterator[Target]:
    """Open the guest whose QEMU has a QMP monitor at `socket`, for as long as the context lasts.

    With `pause` a guest that runs is stopped meanwhile. `given` as for open_target(). Raises
    PageInspectError.
    """
    given = given or Given()
    prog = new_program(given, live=False)
    with contextlib.ExitStack() as stack:
        monitor = stack.enter_context(Monitor(socket))
        barred = _attach(prog, monitor)
        check_architecture(prog, socket)
        if "VMCOREINFO" not in prog:
            raise PageInspectError(
                f"the guest at {socket} gives no VMCOREINFO",
                "it has not booted so far, or cannot: QEMU takes -device vmcoreinfo, and the "
                "guest's kernel qemu_fw_cfg; or give the note (--vmcoreinfo FILE)",
            )
        if pause:
            stack.enter_context(monitor.pausing())
        guest = Guest(paused=not monitor.is_running(), barred=barred)
        if barred:
            memory = MonitorMemory(monitor, lasting=guest.paused)
            prog.add_memory_segment(0, (1 << 64) - 1, memory.read, physical=True)
        target = target_of(prog, given, guest)
        yield replace(target, registers=lambda: _registers(monitor))


def _registers(monitor: Monitor) -> dict[int, tuple[int, int]]:
    """Return the program counter and the stack pointer of each CPU."""
    asked: dict[str, Any] = {"command-line": "info registers -a"}
    text = monitor.execute("human-monitor-command", **asked)
    found: dict[int, tuple[int, int]] = {}
    for cpu, said in _OF_CPU.findall(str(text)):
        pc, sp = (re.search(rf"\b{name}=([0-9a-f]+)", said) for name in ("RIP", "RSP"))
        if pc is not None and sp is not None:
            found[int(cpu)] = (int(pc[1], 16), int(sp[1], 16))
    return found
