# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots of many cores on a cluster of two worker processes, and what ends them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cores_by_hand import core, environment
from owned_pages import PAGES
from waiting import has_ended, until

from pageinspect.dataset.read import read_snapshot, snapshots
from pageinspect.errors import Exit

pytest.importorskip("distributed")
pytest.importorskip("cryptography")

START = 1_764_439_274
HOSTS = ["a", "b", "c"]


class Cores:
    """A folder with three cores and two broken ones, and commands that read them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.environment = environment(folder)
        self.good = [core(folder, host, START + i) for i, host in enumerate(HOSTS)]
        self.broken = [folder / "cut off", folder / "empty"]
        self.broken[0].write_text("by ha")
        self.broken[1].write_text("")
        for path in self.broken:
            os.utime(path, (START, START))
        self.gate = self.good[1].with_name(f"{self.good[1].name}.gate")

    @contextlib.contextmanager
    def begun(self, *options: str) -> Iterator["subprocess.Popen[str]"]:
        words = ["snapshot", *map(str, self.good + self.broken), "-o", str(self.data), *options]
        with subprocess.Popen(
            [sys.executable, "-m", "pageinspect", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def run(self, *options: str) -> tuple[int, list[str], list[str]]:
        with self.begun(*options) as process:
            out, err = process.communicate(timeout=120)
        return process.returncode, out.splitlines(), err.splitlines()

    def reader(self, process: "subprocess.Popen[str]") -> int:
        """Return the process that reads the second core, which waits at its gate."""
        word = os.fsencode(self.good[1])
        found: list[int] = []

        def look() -> bool:
            found[:] = [pid for pid in session(process.pid) if word in command_line(pid)[-1:]]
            return bool(found)

        until(look)
        return found[0]

    def hosts(self) -> list[str]:
        return [entry.host for entry in snapshots(self.data)]

    def error(self, host: str) -> str | None:
        (time,) = (entry.time for entry in snapshots(self.data) if entry.host == host)
        snapshot = read_snapshot(self.data, host, time)
        error = snapshot.header("error")
        assert error is not None or snapshot.tables["runs"]["pages"].sum() == PAGES
        return error


def command_line(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def session(leader: int) -> list[int]:
    """Return the processes of a session other than its leader, except those that have ended."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    own = [pid for pid in pids if fields(pid)[3:4] == [str(leader)] and not has_ended(pid)]
    return [pid for pid in own if pid != leader]


def others(lines: list[str]) -> list[str]:
    """Return the lines that are neither an error of pageinspect nor its hint."""
    return [line for line in lines if not line.startswith(("pageinspect: error: ", "  hint: "))]


def parent(pid: int) -> int:
    return int(fields(pid)[1])


def worker_of(reader: int) -> int:
    """Return the worker that a process which reads a core is a child of."""
    while b"spawn_main" not in b" ".join(command_line(reader)):
        reader = parent(reader)
    return reader


def hosts_in(lines: list[str]) -> list[str]:
    """Return the hosts of the lines of several cores, `PATH: HOST TIME: …`, sorted."""
    return sorted(line.split(": ")[1].partition(" ")[0] for line in lines)


@pytest.fixture
def cores(tmp_path: Path) -> Cores:
    return Cores(tmp_path)


def test_each_core_has_a_row_and_is_read_once(cores: Cores) -> None:
    missing = cores.folder / "missing"
    cores.broken.append(missing)
    status, out, err = cores.run("--dask", "local:2")
    assert status == Exit.ERROR, err
    assert hosts_in(out) == HOSTS
    assert others(err) == []
    assert sorted(line for line in err if "error" in line) == [
        f"pageinspect: error: {path} is not a core" for path in cores.broken
    ]
    assert cores.hosts() == sorted([*HOSTS, *(path.name for path in cores.broken)])
    assert [cores.error(host) for host in HOSTS] == [None] * len(HOSTS)
    for path in cores.broken:
        assert cores.error(path.name) == f"{path} is not a core"

    # What is there is skipped, and a row with an error goes when its core can be read.
    cores.broken[1].write_text(f"by hand d {START}")
    missing.write_text(f"by hand e {START}")
    for path in cores.broken[1:]:
        os.utime(path, (START, START))
    status, out, err = cores.run("--dask", "local:2")
    assert status == Exit.ERROR
    skipped = [line for line in out if f": already in {cores.data}, incomplete" in line]
    assert hosts_in(skipped) == HOSTS
    assert len(out) == len(HOSTS) + 2
    assert cores.hosts() == ["a", "b", "c", "cut off", "d", "e"]


def test_a_core_whose_worker_is_killed_is_read_again_and_nothing_is_offered(cores: Cores) -> None:
    cores.gate.touch()
    with cores.begun("--dask", "local:2") as process:
        reader = cores.reader(process)
        places = listening({process.pid, *session(process.pid)})
        assert places
        assert {host for host, _ in places} == {"127.0.0.1"}
        # Without its certificates, nobody can be a client or a worker.
        assert refuse({port for _, port in places})
        os.kill(worker_of(reader), signal.SIGKILL)
        until(lambda: has_ended(reader))
        cores.gate.unlink()
        out, err = process.communicate(timeout=120)
    assert process.returncode == Exit.ERROR, err
    assert hosts_in(out.splitlines()) == HOSTS
    assert [cores.error(host) for host in HOSTS] == [None] * len(HOSTS)
    assert "killed" not in err


def test_a_core_whose_workers_are_killed_twice_has_a_row(cores: Cores) -> None:
    cores.gate.touch()
    with cores.begun("--dask", "local:2") as process:
        for _ in range(2):
            reader = cores.reader(process)
            os.kill(worker_of(reader), signal.SIGKILL)
            until(lambda pid=reader: has_ended(pid))  # type: ignore[misc]
        out, err = process.communicate(timeout=120)
    assert process.returncode == Exit.ERROR
    assert hosts_in(out.splitlines()) == ["a", "c"]
    said = f"{cores.good[1]} could not be read: the worker that read it was killed"
    assert said in err
    assert said in str(cores.error(cores.good[1].name))
    assert len(cores.hosts()) == len(HOSTS) + len(cores.broken)


@pytest.mark.parametrize(
    "by", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.whole), signal.SIGKILL]
)
def test_a_signal_ends_all_and_leaves_a_sound_dataset(cores: Cores, by: signal.Signals) -> None:
    cores.gate.touch()
    with cores.begun("--dask", "local:2") as process:
        cores.reader(process)
        assert process.stdout is not None
        process.stdout.readline()
        if by == signal.SIGINT:
            # As a terminal sends it: to all of them.
            os.killpg(process.pid, by)
        else:
            process.send_signal(by)
        _, err = process.communicate(timeout=60)
        until(lambda: not session(process.pid))
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(by, -9)
    if by != signal.SIGKILL:
        assert [
            line for line in err.splitlines() if "error:" not in line and "hint:" not in line
        ] == []
    done = {host for host in cores.hosts() if host in HOSTS}
    assert "b" not in done
    assert [cores.error(host) for host in done] == [None] * len(done)
    if by != signal.SIGKILL:
        return
    cores.gate.unlink()
    status, out, _ = cores.run("--dask", "local:2")
    assert status == Exit.ERROR
    assert sum("already in" in line for line in out) == len(done)
    assert [cores.error(host) for host in HOSTS] == [None] * len(HOSTS)


def listening(pids: set[int]) -> list[tuple[str, int]]:
    """Return the addresses at which processes listen, by their files in /proc."""
    sockets = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(str(link.readlink()))
    found = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                address, port = words[1].split(":")
                host = ".".join(str(byte) for byte in reversed(bytes.fromhex(address)))
                found.append((host, int(port, 16)))
    return found


def refuse(ports: set[int]) -> bool:
    """Return whether servers are of no use: they answer Dask's own protocol not at all."""
    program = f"""
import asyncio
from distributed.core import rpc
async def answers(port):
    try:
        async with rpc(f"tcp://127.0.0.1:{{port}}", timeout=3) as server:
            await asyncio.wait_for(server.identity(), 3)
    except Exception:
        return False
    return True
async def ask():
    return await asyncio.gather(*map(answers, {sorted(ports)}))
print(any(asyncio.run(ask())))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout == "False\n"


def hang_up(server: socket.socket) -> None:
    for _ in range(2):
        server.accept()[0].close()


def test_a_scheduler_that_does_not_answer(cores: Cores) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(60)
        # It takes connections, and hangs up.
        thread = threading.Thread(target=hang_up, args=[server])
        thread.start()
        status, out, err = cores.run("--dask", f"127.0.0.1:{port}")
        thread.join()
    assert (status, out) == (Exit.ERROR, [])
    assert len(err) == 2
    assert f"no scheduler of Dask answers at tcp://127.0.0.1:{port}" in err[0]
    status, _, err = cores.run("--dask", f"127.0.0.1:{port}")
    assert (status, len(err)) == (Exit.ERROR, 2)
    assert "Connection refused" in err[0]
    assert not cores.data.exists()
