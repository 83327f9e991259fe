# SPDX-License-Identifier: GPL-2.0-only
"""Reads a guest's memory in its QEMU process, with the rights of that process's user.

The process that serves the socket may be hostile: it can execute a set-user-ID program, whose
memory root may read but its user may not. Therefore root opens /proc/PID/mem with the ids of that
user. The kernel then denies access to memory of other users, and of a process that has or had more
capabilities. The descriptor stays bound to the address space at the time of the open: a program
executed later has a new one.

process_vm_readv() is faster, but looks up the process by pid at each call.
"""

import contextlib
import errno
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from drgn import FaultError, Program

from ...errors import PageInspectError
from ...host import capabilities
from ...host.processes import fork
from ...model.arch import ADDRESSES_OF_KERNEL, PAGE_SIZE
from ..page_tables import PageTables
from .monitor import Monitor, Peer, RefusedError

_MAX_REGIONS = 1024
LOCATE_RAM_S = 30.0
"""Timeout in seconds for locating all RAM regions: QEMU answers one query in a millisecond."""
# A line of `info mtree -f`. "ramd" is memory of a passed-through device.
_REGION = re.compile(
    r"^ +([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, (?:nv-)?(?:ram|romd?)\)", re.MULTILINE
)
_ADDRESS = re.compile(r"\) is 0x([0-9a-f]{1,16})\s*\Z")


class DeniedError(Exception):
    """QEMU's memory cannot or must not be read."""


class Ram(NamedTuple):
    """A part of the guest's RAM."""

    start: int
    """Its physical address."""
    size: int
    """In bytes."""
    memory: "_Segment"


def add_memory(prog: Program, monitor: Monitor, ends: ExitStack) -> tuple[str, Sequence[Ram]]:
    """Make drgn read the guest's RAM from QEMU's memory, until the exit stack `ends` is closed.

    Returns the reason if that is not possible, else "", and all parts of the RAM.
    """
    answering = monitor.answering
    try:
        memory = open_memory(answering, monitor.listening)
        ends.callback(os.close, memory)
        segments = _segments(monitor, memory)
    except DeniedError as error:
        return str(error), ()
    except RefusedError:
        return "QEMU does not answer info mtree", ()
    if monitor.answering != answering:
        # The same process answered before and after, so the pid was not reused in between.
        return "the process that answers has changed", ()
    for ram in segments:
        prog.add_memory_segment(ram.start, ram.size, ram.memory.read, physical=True)
    return "", segments


def map_directly(prog: Program, info: Mapping[str, str], segments: Sequence[Ram]) -> None:
    """Read the kernel's map of all memory without its page tables: one read instead of five.

    The tables are asked once about the ends of each part of the RAM; `info` is VMCOREINFO. What
    they place elsewhere, or do not have, is read through them.
    """
    try:
        base = prog["page_offset_base"].value_()
        tables = PageTables(prog, info)
    except (LookupError, FaultError):
        return
    for start, size, memory in segments:
        with contextlib.suppress(FaultError):
            ends = start, start + size - PAGE_SIZE
            fits = ADDRESSES_OF_KERNEL <= base <= (1 << 64) - start - size
            if fits and all(tables.physical(base + at) == at for at in ends):
                prog.add_memory_segment(base + start, size, memory.read)


def open_memory(answering: Peer, listening: Peer) -> int:
    """Return a descriptor of the memory of the process `answering`. Raises DeniedError."""
    own = os.geteuid()
    if not answering.pid:
        raise DeniedError("QEMU is in another PID namespace")
    if listening.uid not in (0, answering.uid):
        raise DeniedError("the socket was created by another user than the one that answers")
    path = f"/proc/{answering.pid}/mem"
    try:
        if answering[:2] == listening[:2] and answering.uid == own:
            return os.open(path, os.O_RDONLY)
        if own == 0 and answering.uid != 0:
            return _open_as(answering, path)
    except OSError as error:
        raise DeniedError(f"{path}: {error.strerror}") from None
    raise DeniedError("QEMU belongs to another user")


def _open_as(user: Peer, path: str) -> int:
    """Open a file with the rights of a user, and return its descriptor. Raises OSError.

    A child process opens it, because a change of the effective user would clear PR_SET_PDEATHSIG of
    this one. The real user stays root, so that the other user cannot send signals to the child.
    """
    ours, theirs = socket.socketpair()
    child = fork()
    if child == 0:
        failure = errno.EPERM
        try:
            os.setgroups([])
            os.setegid(user.gid)
            os.seteuid(user.uid)
            if not capabilities.effective():
                socket.send_fds(theirs, [b"\0"], [os.open(path, os.O_RDONLY)])
                failure = 0
        except OSError as error:
            failure = error.errno or failure
        finally:
            if failure:
                theirs.send(bytes([failure]))
            os._exit(0)
    theirs.close()
    with ours:
        said, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    os.waitpid(child, 0)
    if not descriptors:
        number = said[0] if said else errno.EPERM
        raise OSError(number, os.strerror(number))
    return descriptors[0]


def _segments(monitor: Monitor, memory: int) -> list[Ram]:
    """Return each part of the guest's RAM."""
    segments = []
    regions = _regions(monitor.human_command("info mtree -f"))
    if len(regions) > _MAX_REGIONS:
        raise DeniedError(f"QEMU names {len(regions)} regions of RAM")
    end_of_asking = time.monotonic() + LOCATE_RAM_S
    for start, end in regions:
        if time.monotonic() > end_of_asking:
            raise DeniedError(f"QEMU took more than {LOCATE_RAM_S:g} s to locate its guest's RAM")
        try:
            found = _ADDRESS.search(monitor.human_command(f"gpa2hva {start:#x}"))
        except RefusedError:
            found = None
        size = end + 1 - start
        if found is not None and size > 0 and int(found[1], 16) + size < ADDRESSES_OF_KERNEL:
            segments.append(Ram(start, size, _Segment(memory, int(found[1], 16))))
    if not segments:
        raise DeniedError("QEMU does not report where its guest's RAM is")
    try:
        segments[0].memory.read(segments[0].start, 1)
    except (FaultError, PageInspectError):
        raise DeniedError("the guest's RAM is not where QEMU reports it") from None
    return segments


def _regions(tree: str) -> list[tuple[int, int]]:
    """Return (first, last) addresses of RAM and ROM in the guest's physical address space."""
    for view in tree.split("FlatView #"):
        names, _, regions = view.partition("Root memory region:")
        if 'AS "memory"' in names:
            return [(int(start, 16), int(last, 16)) for start, last in _REGION.findall(regions)]
    return []


class _Segment:
    """A part of the guest's RAM, as a memory reader for drgn."""

    def __init__(self, memory: int, address: int) -> None:
        self._memory = memory
        self._address = address

    def read(self, address: int, count: int, offset: int = 0, *_: bool) -> bytes:
        """Return bytes of the guest. Raises FaultError, and PageInspectError if QEMU has ended."""
        data = b""
        while len(data) < count:
            try:
                more = os.pread(self._memory, count - len(data), self._address + offset + len(data))
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                raise FaultError("QEMU has no memory there", address + len(data)) from None
            if not more:
                raise PageInspectError(
                    "QEMU ended while its guest was read", "check whether its QEMU still runs"
                )
            data += more
        return data
