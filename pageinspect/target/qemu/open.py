# SPDX-License-Identifier: GPL-2.0-only
"""Opens a QEMU guest from outside, through its monitor. Nothing is run in the guest.

drgn's own set_qemu_qmp() is not used: it has no timeout, and reads the memory of whatever process
now has the pid of the socket's creator.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ...errors import PageInspectError
from ...model import arch
from ...model.provenance import GuestState
from ..open import Target, create_program, target_of, unsupported_architecture
from ..platform import PLATFORM
from ..symbols.sources import SymbolOptions
from .memory import MonitorMemory, read_vmcoreinfo
from .monitor import Monitor, monitor_at
from .process import add_memory, map_directly

_REGISTERS = arch.PC_REGISTER, arch.SP_REGISTER
_OF_CPU = re.compile(r"CPU#(\d+)(.*?)(?=CPU#|\Z)", re.DOTALL)


@contextlib.contextmanager
def open_guest(
    socket: Path, options: SymbolOptions | None = None, *, pause: bool = False
) -> Iterator[Target]:
    """Open the guest whose QEMU has a QMP monitor at `socket`, until the context ends.

    With `pause` a running guest is paused until then. `options` is as for open_target(). Raises
    PageInspectError.
    """
    options = options or SymbolOptions()
    prog = create_program(options, live=False, platform=PLATFORM)
    with contextlib.ExitStack() as stack:
        monitor = stack.enter_context(monitor_at(socket))
        machine = monitor.query("query-target", "arch", str)
        if machine != arch.NAME:
            raise unsupported_architecture(socket, machine)
        vmcoreinfo = "" if options.vmcoreinfo else read_vmcoreinfo(monitor)
        if not vmcoreinfo and not options.vmcoreinfo:
            raise PageInspectError(
                f"the guest at {socket} gives no VMCOREINFO",
                "it has not booted yet, or lacks support: QEMU needs -device vmcoreinfo, the "
                "guest's kernel qemu_fw_cfg; or give the note (--vmcoreinfo FILE)",
            )
        denied, ram = add_memory(prog, monitor, stack)
        if pause:
            stack.enter_context(monitor.pausing())
        guest = GuestState(paused=not monitor.is_running(), denied=denied)
        if denied:
            memory = MonitorMemory(monitor, paused=guest.paused)
            prog.add_memory_segment(0, (1 << 64) - 1, memory.read, physical=True)
        prog.set_linux_kernel_custom(vmcoreinfo, is_live=True)
        target = target_of(prog, options, guest)
        map_directly(prog, target.vmcoreinfo, ram)
        provenance = replace(target.provenance, target=f"qemu:{socket}")
        yield replace(target, provenance=provenance, registers=lambda: _registers(monitor))


def _registers(monitor: Monitor) -> dict[int, tuple[int, int]]:
    """Return (program counter, stack pointer) of each CPU, by CPU number."""
    text = monitor.human_command("info registers -a")
    found: dict[int, tuple[int, int]] = {}
    for cpu, said in _OF_CPU.findall(text):
        pc, sp = (re.search(rf"\b{name}=([0-9a-f]+)", said) for name in _REGISTERS)
        if pc is not None and sp is not None:
            found[int(cpu)] = (int(pc[1], 16), int(sp[1], 16))
    return found
