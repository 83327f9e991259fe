# SPDX-License-Identifier: GPL-2.0-only
"""The agent in the guest: starts processes for the host. Standard library only.

It runs as process 1 and forks: the parent reaps orphans, and powers off when the child ends. The
child is the agent: one loop over the port to the host, and over each process's streams and pidfd.

No library does this: sshd needs a network, and the QEMU guest agent returns the output of a process
only when it has ended.
"""

import contextlib
import fcntl
import functools
import os
import select
import selectors
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

from .framing import STDIN_WINDOW, Decoder, Message, encode

PORT_NAME = "pageinspect.agent"

# Output of processes is read only while less than this is pending for the host. So a host that does
# not read blocks them like a full pipe, and the agent still receives signals.
_MOST_PENDING = 1 << 20
_CHUNK = 1 << 16
_PORT_TIMEOUT_S = 10

# Most that is read from a pipe after its process ended: other processes may still write to it.
_MOST_LEFT = 1 << 20


class AgentProcess:
    """One process that the host asked for."""

    def __init__(self, agent: "Agent", message: Message) -> None:
        self._agent = agent
        self.number: int = message["id"]
        self._pending = bytearray()
        self._input_ended = False
        self._terminal: int | None = None
        env = {**os.environ, **message.get("env", {})}
        cwd = message.get("cwd") or "/root"
        size = message.get("tty")
        if size is None:
            self._on_pipes(message["argv"], env, cwd)
        else:
            self._on_terminal(message["argv"], env, cwd, size)
        # The agent has the lowest OOM score; the processes that it starts must not inherit it.
        Path(f"/proc/{self.popen.pid}/oom_score_adj").write_text("0")
        for descriptor in (self._input, *self._outputs):
            os.set_blocking(descriptor, False)
        for descriptor in self._outputs:
            read = functools.partial(self._read, descriptor)
            agent.watch(descriptor, selectors.EVENT_READ, read)
        self._pidfd = os.pidfd_open(self.popen.pid)
        agent.watch(self._pidfd, selectors.EVENT_READ, self._ended)

    def _on_pipes(self, argv: list[str], env: dict[str, str], cwd: str) -> None:
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
        try:
            self.popen = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=theirs[0],
                stdout=theirs[1],
                stderr=theirs[2],
                start_new_session=True,
            )
        except OSError:
            _close(ours)
            raise
        finally:
            _close(theirs)
        self._input = ours[0]
        self._outputs = {ours[1]: "stdout", ours[2]: "stderr"}

    def _on_terminal(self, argv: list[str], env: dict[str, str], cwd: str, size: list[int]) -> None:
        master, slave = os.openpty()
        self._terminal = master
        self.resize(size)
        # setsid makes it the controlling terminal, so that Ctrl-C works, and keeps the pid.
        self.popen = subprocess.Popen(
            ["setsid", "--ctty", *argv], env=env, cwd=cwd, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self._input = os.dup(master)
        self._outputs = {master: "stdout"}

    def resize(self, size: list[int]) -> None:
        """Set the size of the terminal, [rows, columns], if there is one."""
        if self._terminal is not None:
            packed = struct.pack("HHHH", size[0], size[1], 0, 0)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, packed)

    def signal(self, number: int) -> None:
        """Send a signal to the process group, as a terminal would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number)

    def stdin(self, data: bytes) -> None:
        """Pass bytes to standard input; empty bytes close it."""
        if not data:
            self._input_ended = True
        self._pending += data
        self._write()

    def _write(self) -> None:
        if self._input < 0:
            self._take(len(self._pending))
            return
        try:
            self._take(os.write(self._input, self._pending[:_CHUNK]) if self._pending else 0)
        except BlockingIOError:
            pass
        except OSError:
            # The process closed its standard input: drop the data.
            self._take(len(self._pending))
            self._close_input()
            return
        if self._pending:
            self._agent.watch(self._input, selectors.EVENT_WRITE, self._write)
        else:
            self._agent.unwatch(self._input)
            if self._input_ended:
                self._close_input()

    def _take(self, size: int) -> None:
        if size:
            del self._pending[:size]
            self._agent.send({"event": "taken", "id": self.number, "count": size})

    def _close_input(self) -> None:
        if self._input >= 0:
            self._agent.unwatch(self._input)
            os.close(self._input)
            self._input = -1

    def _read(self, descriptor: int) -> bool:
        """Send one chunk of output; return whether there may be more now."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # the terminal's other side is closed
        if not data:
            self._agent.unwatch(descriptor)
            return False
        self._agent.send({"event": self._outputs[descriptor], "id": self.number}, data)
        return True

    def _ended(self) -> None:
        """Send the remaining output and the status.

        Does not wait for the end of its streams: a process that it left behind may hold them open.
        """
        status = self.popen.wait()
        for descriptor in self._outputs:
            for _ in range(_MOST_LEFT // _CHUNK):
                if not self._read(descriptor):
                    break
            self._agent.unwatch(descriptor)
            os.close(descriptor)
        self._close_input()
        self._agent.unwatch(self._pidfd)
        os.close(self._pidfd)
        self._agent.send({"event": "exit", "id": self.number, "status": status})
        self._agent.processes.pop(self.number)


class Agent:
    """The event loop of the agent."""

    def __init__(self, port: int) -> None:
        os.set_blocking(port, False)
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._decoder = Decoder()
        self._pending = bytearray()
        self.processes: dict[int, AgentProcess] = {}

    def run(self) -> None:
        """Serve the host until it disconnects."""
        self.send({"event": "ready", "release": os.uname().release})
        while True:
            crowded = len(self._pending) > _MOST_PENDING
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._pending else 0)
            self.watch(self._port, events, self._serve)
            for key, _ in self._selector.select(timeout=0.05 if crowded else None):
                if key.fd == self._port or not crowded:
                    key.data()

    def watch(self, descriptor: int, events: int, action: Callable[[], object]) -> None:
        """Call `action` when a descriptor is ready for `events`."""
        if descriptor in self._selector.get_map():
            self._selector.modify(descriptor, events, action)
        else:
            self._selector.register(descriptor, events, action)

    def unwatch(self, descriptor: int) -> None:
        """Stop watching a descriptor, if it was watched."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(descriptor)

    def send(self, message: Message, payload: bytes = b"") -> None:
        """Queue a message for the host, and write as much as the port accepts now."""
        self._pending += encode(message, payload)
        self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._pending:
                del self._pending[: os.write(self._port, self._pending[:_CHUNK])]

    def _serve(self) -> None:
        self._flush()
        try:
            data = os.read(self._port, STDIN_WINDOW)
        except BlockingIOError:
            return
        if not data:
            sys.exit("the host disconnected")
        for message, payload in self._decoder.feed(data):
            self._obey(message, payload)

    def _obey(self, message: Message, payload: bytes) -> None:
        if message["do"] == "start":
            self._start(message)
        elif (process := self.processes.get(message["id"])) is not None:
            match message["do"]:
                case "stdin":
                    process.stdin(payload)
                case "signal":
                    process.signal(message["number"])
                case "resize":
                    process.resize(message["tty"])

    def _start(self, message: Message) -> None:
        try:
            self.processes[message["id"]] = process = AgentProcess(self, message)
        except OSError as error:
            # As in a shell: 127 for a command that does not exist, 126 for one that cannot run.
            name = error.filename or message["argv"][0]
            text = f"pageinspect: cannot run {name} in the guest: {error.strerror}\n"
            self.send({"event": "stderr", "id": message["id"]}, text.encode())
            status = 127 if isinstance(error, FileNotFoundError) else 126
            self.send({"event": "exit", "id": message["id"], "status": status})
        else:
            self.send({"event": "started", "id": message["id"], "pid": process.popen.pid})


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def find_port() -> int:
    """Open the agent's virtio-serial port, and wait until the host has connected."""
    end = time.monotonic() + _PORT_TIMEOUT_S
    while time.monotonic() < end:
        for name in Path("/sys/class/virtio-ports").glob("*/name"):
            if name.read_text().strip() == PORT_NAME:
                port = os.open(f"/dev/{name.parent.name}", os.O_RDWR | os.O_NONBLOCK)
                _wait_for_host(port)
                return port
        time.sleep(0.01)
    sys.exit("pageinspect-agent: no port to the host: does the kernel have virtio_console?")


def _wait_for_host(port: int) -> None:
    """Wait until the driver reports the port as connected; until then reads return end of file."""
    poll = select.poll()
    poll.register(port, select.POLLOUT)
    while any(events & select.POLLHUP for _, events in poll.poll(1000)):
        time.sleep(0.01)


def main() -> None:
    """Run as the guest's first process."""
    os.setsid()
    child = os.fork()
    if child == 0:
        Path("/proc/self/oom_score_adj").write_text("-1000")
        Agent(find_port()).run()
    while os.wait()[0] != child:
        pass
    sys.stderr.write("pageinspect-agent: ended\n")
    Path("/proc/sysrq-trigger").write_text("o")
    signal.pause()


if __name__ == "__main__":
    main()
