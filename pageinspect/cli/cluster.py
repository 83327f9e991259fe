# SPDX-License-Identifier: GPL-2.0-only
"""Runs many commands at once on a Dask cluster, each in a process of its own.

Dask moves only the words of a command and what it printed. Nothing else imports this module, and
dask and distributed are imported nowhere else.
"""

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import uuid
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import islice
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import Exit, PageInspectError
from ..host.extras import load_library
from ..host.processes import ENDING, cleanup_even_if_killed
from ..host.terminal import say
from ..units import printable
from ..version import __version__
from .cluster_worker import Outcome, end_commands, other_version, own_version, run_command

if TYPE_CHECKING:
    from .arguments import Cluster

_CONNECT_S = 10
_CLOSE_S = 10


def outcomes_of(
    where: "Cluster", commands: Sequence[Sequence[str]]
) -> Generator[tuple[int, Outcome], None, None]:
    """Run `pageinspect WORDS…` for each of the commands; yield its index and outcome as it ends.

    On this machine, a command whose worker is killed runs once more; another cluster has its own
    setting for that. Signals that end this process end the commands first, and raise
    KeyboardInterrupt or SystemExit. Raises PageInspectError without distributed, and for a cluster
    that cannot be reached, has other versions of pageinspect, or disappears.
    """
    with _ending() as restore, _connected(where, len(commands)) as (client, at_once):
        _check_versions(client)
        run = uuid.uuid4().hex
        try:
            yield from _results(client, commands, run, at_once)
        except BaseException:
            # A second signal ends this process at once; the workers of this machine end with it.
            restore()
            with contextlib.suppress(Exception):
                client.run(end_commands, run, on_error="ignore")
            raise


@contextlib.contextmanager
def _ending() -> Iterator[Any]:
    """Raise KeyboardInterrupt or SystemExit for signals that end a process; give what restores."""

    def end(number: int, _: object) -> NoReturn:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    numbers = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield restore
    finally:
        restore()


@contextlib.contextmanager
def _connected(where: "Cluster", commands: int) -> Iterator[tuple[Any, int]]:
    """Give a client of the cluster, and how many tasks it gets at once."""
    distributed = _distributed()
    with contextlib.ExitStack() as stack:
        # What concerns the user is an error or an outcome.
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, logging.NOTSET)
        if where.address:
            client, at_once = _client_of(where.address), commands
        else:
            at_once = _number_of_processes(where, commands)
            client = distributed.Client(stack.enter_context(_local(at_once)), set_as_default=False)
        stack.callback(_close, client)
        yield client, at_once


_distributed = partial(load_library, "distributed", "dask")
"""Returns the module distributed; raises PageInspectError if it is not installed."""


def _client_of(address: str) -> Any:
    """Return a client of a scheduler; raises PageInspectError if it does not answer in time."""
    try:
        scheme, _, place = address.partition("://")
        if scheme in ("tcp", "tls"):
            # distributed would try again and again, and report no reason.
            host, _, port = place.rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S):
                pass
        # A client that fails to connect cannot be closed.
        asyncio.run(asyncio.wait_for(_check_scheduler(address), _CONNECT_S))
        return _distributed().Client(address, timeout=_CONNECT_S, set_as_default=False)
    except Exception as error:  # noqa: BLE001 - any server may answer there, with anything
        raise PageInspectError(
            f"no scheduler of Dask answers at {address}: {_first_line(error)}",
            "check the address and that dask scheduler runs there; --dask local needs none",
        ) from None


async def _check_scheduler(address: str) -> None:
    """Raise any exception if no scheduler answers at an address."""
    distributed = _distributed()
    security = distributed.Security().get_connection_args("client")
    async with distributed.rpc(address, timeout=_CONNECT_S, connection_args=security) as server:
        found = (await server.identity())["type"]
    if found != "Scheduler":
        raise ValueError(f"{found} answers")


def _close(client: Any) -> None:
    with contextlib.suppress(Exception):
        client.close(timeout=_CLOSE_S)


def _number_of_processes(where: "Cluster", commands: int) -> int:
    from .parallel import available

    return max(min(where.processes or available(), commands), 1)


@contextlib.contextmanager
def _local(processes: int) -> Iterator[Any]:
    """Give a cluster of processes on this machine, which other users cannot connect to."""
    folder = Path(mkdtemp(prefix="pageinspect-dask-"))
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    with cleanup_even_if_killed(remove), _without_servers():
        # multiprocessing starts it with the first process, and changes the mask then.
        resource_tracker.ensure_running()
        # Processes inherit the mask: Ctrl-C at a terminal reaches only this one, which ends them.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            cluster = _distributed().LocalCluster(
                n_workers=processes,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                # Commands have limits of their own, and their memory is not that of a worker.
                memory_limit=0,
                security=_credentials(),
                silence_logs=logging.CRITICAL,
                local_directory=str(folder),
                scheduler_kwargs={"allowed_failures": 1},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        try:
            yield cluster
        finally:
            cluster.close(timeout=_CLOSE_S)


def _without_servers() -> Any:
    """Return a context in which a new cluster answers nothing over HTTP."""
    names = ("distributed.scheduler.http.routes", "distributed.worker.http.routes")
    return import_module("dask.config").set({name: [] for name in names})


def _credentials() -> Any:
    """Return certificates for this cluster alone: who can connect to it can run any code."""
    load_library("cryptography", "dask")
    return _distributed().Security.temporary()


def _check_versions(client: Any) -> None:
    """Raise PageInspectError if a worker has another version of pageinspect, or none."""
    found = client.run(own_version, on_error="return")
    if not found:
        say("the cluster has no workers: waiting until it has")
    for address, has in sorted(found.items()):
        if has != __version__:
            raise other_version(str(address), has if isinstance(has, str) else None)


def _results(
    client: Any, commands: Sequence[Sequence[str]], run: str, at_once: int
) -> Generator[tuple[int, Outcome], None, None]:
    def submit(number: int) -> Any:
        future = client.submit(
            run_command, commands[number], __version__, run, key=f"{run}-{number}", pure=False
        )
        numbers[future.key] = number
        return future

    numbers: dict[Any, int] = {}
    # No task waits at a worker on this machine: it would count as lost as well if that is killed.
    waiting = iter(range(len(commands)))
    first = [submit(number) for number in islice(waiting, at_once)]
    done = _distributed().as_completed(first, loop=client.loop)
    for future in done:
        outcome = _outcome(future)
        number = numbers.pop(future.key)
        future.release()
        for following in waiting:
            done.add(submit(following))
            break
        yield number, outcome


def _outcome(future: Any) -> Outcome:
    if future.status in ("cancelled", "lost"):
        raise PageInspectError(
            "the cluster has ended, or dropped a task",
            "run it again: what is in the dataset already is skipped",
        )
    try:
        return Outcome(*future.result())
    except _distributed().KilledWorker:
        lost = "the worker that read it was killed, and so was the next"
    except PageInspectError:
        raise
    except Exception as error:  # noqa: BLE001 - a worker can fail in any way
        lost = f"the worker failed: {_first_line(error)} ({type(error).__name__})"
    return Outcome(Exit.ERROR, lost=lost)


def _first_line(error: BaseException) -> str:
    return printable(next(iter(str(error).splitlines()), "") or type(error).__name__)
