# SPDX-License-Identifier: GPL-2.0-only
"""A guest: boot a kernel, run commands in it, drive QEMU, dump it.

with Guest("6.12") as guest:
    release = guest.run(["uname", "-r"]).stdout
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import PageInspectError
from ..host.processes import cleanup_even_if_killed
from ..target.qemu.monitor import Monitor
from . import accel, cache, catalogue, initrd, qemu, source, tools
from .core_file import writing_core
from .errors import GuestLostError, GuestTimeoutError
from .kernel import BuiltKernel, build
from .process import Completed, Connection, GuestProcess, Output
from .progress import Progress, silent
from .root import root

BOOT_TIMEOUT_S = 120.0
"""How long a guest may take to boot; it takes three to six seconds."""

# After this long the first boot is more likely stuck than slow.
_FIRST_BOOT_S = 60.0

_CONSOLE_LINES = 20
_LOGS_KEPT = 40
_DUMP_TIMEOUT_S = 600.0
_DUMP = "dump"
"""QEMU's name of the descriptor that it dumps to."""

# How long QEMU may take to exit after the agent disconnected; normally milliseconds.
_EXIT_TIMEOUT_S = 10.0
_POLL_S = 0.05

# A panic's registers and backtrace may follow the line that says so.
_PANIC_LINES = 200


class GuestCommandError(PageInspectError):
    """A command in the guest failed, and `check` required success."""


class Guest:
    """A running guest, as a context manager.

    `kernel` is a BuiltKernel, or a name of the catalogue, which is built if necessary. `memory` is
    in bytes or text such as "2G", divided evenly among the NUMA nodes; `hotplug_memory` more bytes
    can be plugged in (`plug`, `unplug`). `cpu` is QEMU's -cpu, as in
    "max,la57=on,cx16=off,avx2=off". `scratch` maps serials of writable disks to descriptors of
    their files; the guest writes at most `write_limit` bytes per second to each, 0 for no limit.
    `packages` are Debian packages to add to its root. QEMU ends when the thread that enters the
    context ends. Methods raise GuestLostError when the guest is gone.
    """

    def __init__(  # noqa: PLR0913 - all but the kernel by name
        self,
        kernel: str | BuiltKernel,
        *,
        memory: int | str = "2G",
        nodes: int = 1,
        hotplug_memory: int = 0,
        cpus: int = 2,
        possible_cpus: int = 0,
        cpu: str = "",
        append: str = "",
        accelerator: str | None = None,
        qmp_socket: Path | None = None,
        scratch: Mapping[str, int] | None = None,
        write_limit: int = 0,
        packages: Sequence[str] = (),
        progress: Progress = silent,
    ) -> None:
        tools.require(tools.RUN_PROGRAMS)
        self.memory = qemu.parse_memory(memory) if isinstance(memory, str) else memory
        self.kernel = (
            kernel if isinstance(kernel, BuiltKernel) else build(catalogue.kernel(kernel), progress)
        )
        self._root = root(progress, packages)
        self._base = initrd.base(progress)
        self._nodes, self._hotplug_memory = nodes, hotplug_memory
        self._cpus, self._possible_cpus, self._cpu = cpus, possible_cpus, cpu
        self._append = append
        self._accelerator, self._qmp_socket = accelerator, qmp_socket
        self._scratch, self._write_limit = dict(scratch or {}), write_limit
        self._progress = progress
        self._exit = contextlib.ExitStack()
        self.log = self._new_log()
        """The whole console of the guest."""

    def __enter__(self) -> Self:
        try:
            self._boot_with_retry()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the guest at once, without a shutdown."""
        self._exit.close()

    def quit(self) -> None:
        """Kill QEMU but leave the object open; may be called from any thread."""
        self._qemu.kill()

    @property
    def initrd(self) -> bytes:
        """The initrd it is booted with."""
        parts = (self._base, self.kernel.modules_cpio)
        return b"".join(part.read_bytes() for part in parts if part is not None)

    @property
    def pid(self) -> int:
        """The pid of QEMU."""
        return self._qemu.pid

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        tty: tuple[int, int] | None = None,
        on_output: Output | None = None,
    ) -> GuestProcess:
        """Start a process and return at once.

        `tty` is the (rows, columns) of a terminal to give it. `on_output` takes its output as it
        comes, in another thread; without it the process object collects it.
        """
        return self._agent.start(argv, env=env, cwd=cwd, tty=tty, on_output=on_output)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = 120.0,
        check: bool = True,
        input: bytes = b"",  # noqa: A002 - as subprocess.run calls it
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a command to its end and return its status and output.

        Raises GuestCommandError when `check` and the status is not 0, GuestTimeoutError after
        `timeout` seconds; the guest still runs then, and the command continues in it.
        """
        process = self.start(argv, env=env)
        if input:
            process.write(input)
        process.close_stdin()
        process.wait(timeout)
        done = process.completed()
        if check and done.status != 0:
            said = done.stderr.decode(errors="replace").strip() or "nothing on standard error"
            raise GuestCommandError(
                f"{' '.join(argv)} in the guest ended with status {done.status}: {said}",
                f"the guest's console is in {self.log}",
            )
        return done

    def qmp(self, command: str, *, timeout: float = 30.0, **arguments: object) -> Any:
        """Run a command of QEMU's monitor and return its answer; "_" in names stands for "-".

        Raises RefusedError when QEMU refuses it, PageInspectError when it does not answer.
        """
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        return self._monitor.execute(command, named, timeout=timeout)

    def pause(self) -> None:
        """Stop all CPUs of the guest."""
        self.qmp("stop")

    def resume(self) -> None:
        """Let the guest run on."""
        self.qmp("cont")

    def balloon(self, size: int, timeout: float = 60.0) -> None:
        """Set the guest's memory to `size` bytes by its balloon, and wait until that is reached.

        A size below `memory` inflates the balloon, `memory` deflates it. Raises GuestTimeoutError
        when the guest does not reach the size.
        """
        self.qmp("balloon", value=size)
        end = time.monotonic() + timeout
        while (actual := self.qmp("query-balloon")["actual"]) != size:
            if time.monotonic() > end:
                raise self._explain(
                    GuestTimeoutError, f"the balloon got to {actual} bytes, not to {size}"
                )
            time.sleep(0.02)

    def plug(self, name: str, size: int, node: int = 0) -> None:
        """Plug in `size` bytes of memory; the kernel puts it online by its own rules."""
        backend = f"{name}-memory"
        self.qmp("object-add", qom_type="memory-backend-ram", id=backend, size=size, reserve=False)
        self.qmp("device_add", driver="pc-dimm", id=name, memdev=backend, node=node)

    def unplug(self, name: str) -> None:
        """Ask the kernel to release plugged memory; it must be able to migrate all of its pages."""
        self.qmp("device_del", id=name)

    def dump(self, path: Path, mode: int | None = None) -> None:
        """Pause the guest and write its memory to an ELF core; it stays paused.

        The file gets its name when it is complete. Only this user may read it, unless `mode` is
        given. QEMU gets a descriptor, not a name.
        """
        self.pause()
        with writing_core(path, mode) as core:
            self._monitor.execute("getfd", {"fdname": _DUMP}, descriptor=core.fileno())
            protocol = f"fd:{_DUMP}"
            self.qmp("dump-guest-memory", timeout=_DUMP_TIMEOUT_S, paging=False, protocol=protocol)

    def _new_log(self) -> Path:
        logs = cache.folder("logs")
        cache.prune(logs, "*.log", keep=_LOGS_KEPT)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        number = sum(1 for _ in logs.glob(f"{self.kernel.name}-{stamp}-{os.getpid()}*"))
        return logs / f"{self.kernel.name}-{stamp}-{os.getpid()}-{number}.log"

    def _boot_with_retry(self) -> None:
        """Boot, and boot once more if the guest is lost before its agent is ready.

        On a busy host QEMU's emulation sometimes executes the breakpoint that the kernel sets while
        it patches its code, and the guest panics or hangs.
        """
        try:
            self._boot(_FIRST_BOOT_S)
        except GuestLostError as error:
            self._progress(f"{error.message}; trying once more")
            self._exit.close()
            self.log = self._new_log()
            self._boot(BOOT_TIMEOUT_S)

    def _boot(self, timeout: float) -> None:
        whole = _memory_file("initrd", self.initrd)
        self._exit.callback(os.close, whole)
        tar = source.archive()
        self._exit.callback(os.close, tar)
        ours, theirs = zip(*(socket.socketpair() for _ in range(2)), strict=True)
        for end in (*ours, *theirs):
            self._exit.callback(end.close)
        disks = [("root", str(self._root)), ("source", f"/dev/fd/{tar}")]
        if self.kernel.disk is not None:
            disks.append(("kernel", str(self.kernel.disk)))
        path = f"/dev/fd/{whole}"
        machine = qemu.Machine(
            accelerator=accel.choose(self._accelerator, self.kernel.vmlinuz, path, self._progress),
            kernel=self.kernel.vmlinuz,
            initrd=path,
            console=self.log,
            memory=self.memory,
            nodes=self._nodes,
            hotplug_memory=self._hotplug_memory,
            cpus=self._cpus,
            possible_cpus=self._possible_cpus,
            cpu=self._cpu,
            append=self._append,
            disks=tuple(disks),
            scratch=tuple((serial, f"/dev/fd/{fd}") for serial, fd in self._scratch.items()),
            write_limit=self._write_limit,
            agent=theirs[0].fileno(),
            monitor=theirs[1].fileno(),
            qmp_socket=self._qmp_socket,
            descriptors=(whole, tar, *self._scratch.values()),
        )
        if self._qmp_socket is not None:
            qemu.clear_socket(self._qmp_socket)
            remove = partial(_remove_qmp_socket, self._qmp_socket)
            orphaned = partial(remove, _EXIT_TIMEOUT_S)
            self._exit.enter_context(cleanup_even_if_killed(remove, orphaned=orphaned))
        self._qemu = qemu.Qemu(machine)
        self._exit.callback(self._qemu.close)
        for end in theirs:
            end.close()
        self._agent = Connection(ours[0], self._explain)
        self._exit.callback(self._agent.close)
        self._agent.wait(lambda: self._agent.release is not None, timeout, "the guest did not boot")
        self._monitor = Monitor(ours[1], "its monitor", timeout)
        self._exit.callback(self._monitor.close)

    def _explain(self, kind: type[GuestLostError], what: str) -> GuestLostError:
        """Return the error for `what` failed, with the reason and the last lines of the console."""
        late = issubclass(kind, GuestTimeoutError)
        message = what if late else f"{what}: {self._why()}"
        return kind(message, console=qemu.last_lines(self.log, _CONSOLE_LINES), log=self.log)

    def _why(self) -> str:
        """Say why the guest is gone: QEMU's own error, a panic, or that it shut down."""
        status = self._qemu.wait(_EXIT_TIMEOUT_S)
        if status is None:
            return "its agent ended"
        if status < 0:
            return f"QEMU was killed by {signal.Signals(-status).name}"
        if status > 0:
            return f"QEMU failed: {self._qemu.last_output or f'status {status}'}"
        for line in qemu.last_lines(self.log, _PANIC_LINES):
            if "Kernel panic" in line:
                return line[line.index("Kernel panic") :]
        return "it shut down"


def _remove_qmp_socket(qmp_socket: Path, patience: float = 0) -> None:
    """Remove the socket of a QEMU that has ended, or ends within `patience` seconds.

    The socket stays if another process listens on it by then.
    """
    end = time.monotonic() + patience
    while True:
        try:
            qemu.clear_socket(qmp_socket)
        except (PageInspectError, OSError):
            if time.monotonic() >= end:
                return
            time.sleep(_POLL_S)
        else:
            return


def _memory_file(name: str, content: bytes) -> int:
    """Return a descriptor of an anonymous file with this content."""
    descriptor = os.memfd_create(f"pageinspect-{name}")
    with os.fdopen(os.dup(descriptor), "wb") as out:
        out.write(content)
    return descriptor
