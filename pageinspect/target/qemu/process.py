"""Reads a guest's memory in its QEMU process, with no more rights than that process's user has.

The server of a socket may be hostile: it can execute a set-user-ID program, whose memory root may
read but its user may not. So root opens /proc/PID/mem as that user, and the kernel refuses the
memory of other users, and of a process that has or had more capabilities. The descriptor stays
bound to the memory that the process had when it was opened: a program executed later has new
memory.

process_vm_readv() is faster by itself, but looks the process up by number at each call.
"""

import errno
import os
import re
import socket
import time
from contextlib import ExitStack

from drgn import FaultError, Program

from ...errors import PageInspectError
from ...host import capabilities
from ...host.processes import fork
from ...model.arch import ADDRESSES_OF_KERNEL
from .monitor import Monitor, Peer, RefusedError

_MOST_REGIONS = 1024
ASKING_S = 30.0
"""Seconds for all questions of where the guest's RAM is: QEMU answers one in a millisecond."""
# Of `info mtree -f`. "ramd" is memory of a device that is passed through.
_REGION = re.compile(
    r"^ +([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, (?:nv-)?(?:ram|romd?)\)", re.MULTILINE
)
_ADDRESS = re.compile(r"\) is 0x([0-9a-f]{1,16})\s*\Z")


class DeniedError(Exception):
    """QEMU's memory cannot or must not be read."""


def add_memory(prog: Program, monitor: Monitor, ends: ExitStack) -> str:
    """Have drgn read the guest's RAM in QEMU's memory, until `ends`; return why not, or ""."""
    answering = monitor.answering
    try:
        memory = open_memory(answering, monitor.listening)
        ends.callback(os.close, memory)
        segments = _segments(monitor, memory)
    except DeniedError as error:
        return str(error)
    except RefusedError:
        return "QEMU does not answer info mtree"
    if monitor.answering != answering:
        # The same process before and after means that no other one had its number in between.
        return "the process that answers has changed"
    for start, size, segment in segments:
        prog.add_memory_segment(start, size, segment.read, physical=True)
    return ""


def open_memory(answering: Peer, listening: Peer) -> int:
    """Return a descriptor of the memory of the process that answers. Raises DeniedError."""
    own = os.geteuid()
    if not answering.pid:
        raise DeniedError("QEMU is in another PID namespace")
    if listening.uid not in (0, answering.uid):
        raise DeniedError("the socket was made by another user than the one that answers")
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
    """Open a file with no more rights than a user has.

    This takes a process of its own: a change of the effective user clears PR_SET_PDEATHSIG. The
    real user stays root, so that the other user cannot send it signals.
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


def _segments(monitor: Monitor, memory: int) -> list[tuple[int, int, "_Segment"]]:
    """Return (physical address, bytes, where) of each part of the guest's RAM."""
    segments = []
    regions = _regions(monitor.human("info mtree -f"))
    if len(regions) > _MOST_REGIONS:
        raise DeniedError(f"QEMU names {len(regions)} regions of RAM")
    end_of_asking = time.monotonic() + ASKING_S
    for start, end in regions:
        if time.monotonic() > end_of_asking:
            raise DeniedError(f"QEMU took more than {ASKING_S:g} s to say where its guest's RAM is")
        try:
            found = _ADDRESS.search(monitor.human(f"gpa2hva {start:#x}"))
        except RefusedError:
            found = None
        size = end + 1 - start
        if found is not None and size > 0 and int(found[1], 16) + size < ADDRESSES_OF_KERNEL:
            segments.append((start, size, _Segment(memory, int(found[1], 16))))
    if not segments:
        raise DeniedError("QEMU does not say where its guest's RAM is")
    try:
        segments[0][2].read(segments[0][0], 1)
    except (FaultError, PageInspectError):
        raise DeniedError("the guest's RAM is not where QEMU says") from None
    return segments


def _regions(tree: str) -> list[tuple[int, int]]:
    """Return the first and last addresses of RAM and ROM in what CPUs see of the guest."""
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
        """Return bytes of the guest. Raises FaultError, and PageInspectError when QEMU is gone."""
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
