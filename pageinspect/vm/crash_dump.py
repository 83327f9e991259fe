# SPDX-License-Identifier: GPL-2.0-only
"""A real kdump: the guest panics, and a capture kernel dumps it with makedumpfile.

The capture kernel is the guest's own, with the same initrd; the guest's root has makedumpfile.
"""

import contextlib
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import PageInspectError
from ..host import files
from ..target.core_formats.flattened import FlattenedError, rearrange
from . import proc_snapshot, qemu
from .core_file import cannot_write, folder_beside, writing_core
from .errors import GuestLostError, GuestSilentError, GuestTimeoutError
from .guest import Guest
from .process import GuestProcess
from .progress import Progress, silent

FORMS = {"elf": "-E", "zlib": "-c", "lzo": "-l", "zstd": "-z"}
"""makedumpfile's option for each form of a dump. Debian builds it without snappy."""

RESERVE = "crashkernel=192M"
"""Kernel command line option that reserves memory for the capture kernel."""

_DUMP = "dump"
_CMDLINE = "console=ttyS0 panic=-1 loglevel=5 nr_cpus=1 irqpoll reset_devices"
_LOAD = f"""
for serial in /sys/block/vd*/serial; do
    [ "$(cat $serial)" != {_DUMP} ] || disk=$(basename $(dirname $serial))
done
tar -x -f /dev/$disk -C /run || exit
kexec -p -s /run/vmlinuz --initrd=/run/initrd --command-line='{_CMDLINE} {{capture}}' || exit
rm /run/vmlinuz /run/initrd
"""
_PROGRAM = ("python3", "-P", "-S", "-m", "pageinspect.vm.proc_snapshot")
_DUMPED = "pageinspect-init: dumped"
_SAID = "pageinspect-init: "
_TIMEOUT_S = 600.0
_TIMEOUT_PER_GIB_S = 600.0
_SILENCE_S = 90.0
_SILENCE_PER_GIB_S = 15.0
"""How long the guest may write nothing before it counts as hung. While it reads /proc/kpageflags,
boots the capture kernel or scans its memory it writes nothing, for a few seconds each."""
_POLL_S = 2.0
_CONSOLE_LINES = 20


@dataclass(frozen=True)
class Disks:
    """Disks that a guest writes before and after its panic: descriptors of unnamed files."""

    dump: int
    snapshot: int

    @property
    def descriptors(self) -> dict[str, int]:
        """By serial, as Guest takes them."""
        return {_DUMP: self.dump, proc_snapshot.DISK_SERIAL: self.snapshot}


@contextmanager
def disks(folder: Path, memory: int) -> Iterator[Disks]:
    """Create the disks of a guest with `memory` bytes, as sparse unnamed files in `folder`."""
    # Dump: incompressible memory and about 24 bytes per page. Snapshot: four files of 8 bytes per
    # pfn, those of the hole below 4 GiB included.
    sizes = memory + memory // 8 + (256 << 20), (memory + (4 << 30)) // 128 + (64 << 20)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in sizes]
        for file, size in zip(files, sizes, strict=True):
            os.truncate(file.fileno(), size)
        yield Disks(*(file.fileno() for file in files))


def crash(
    guest: Guest,
    made: Disks,
    core: Path,
    *,
    form: str = "lzo",
    level: int = 0,
    mode: int | None = None,
    progress: Progress = silent,
) -> Path:
    """Panic the guest, and write its kdump to `core` after the guest ended.

    The kernel's /proc files from right before the panic are saved in the returned folder, beside
    the core. The guest must have RESERVE on its command line and `made` as its disks. Only this
    user may read the core and those files, unless `mode` is given. Raises GuestLostError when there
    is no dump, GuestSilentError when the guest hangs.
    """
    _load(guest, made, f"PAGEINSPECT_CAPTURE={FORMS[form]},-d,{level}", progress)
    progress("saving /proc files; then the guest panics and its capture kernel writes the dump")
    _panic(guest, made)
    progress("assembling the core")
    try:
        index = proc_snapshot.read_index(made.snapshot)
        with cannot_write(core), folder_beside(core) as (path, folder):
            for name, place in index.items():
                with files.replacing(folder, name, mode=mode) as out:
                    out.writelines(proc_snapshot.content(made.snapshot, *place))
        with writing_core(core, mode) as out, os.fdopen(os.dup(made.dump), "rb") as dump:
            dump.seek(0)
            rearrange(dump, out)
    except proc_snapshot.NoSnapshotError:
        raise _lost(guest, "the snapshot of /proc is missing") from None
    except FlattenedError as error:
        raise _lost(guest, f"the dump {error}") from None
    return path


def _load(guest: Guest, made: Disks, capture: str, progress: Progress) -> None:
    progress("loading the capture kernel")
    # The capture kernel is passed on the disk that the dump overwrites later.
    with (
        os.fdopen(os.dup(made.dump), "wb") as disk,
        tarfile.open(fileobj=disk, mode="w") as tar,
    ):
        tar.add(guest.kernel.vmlinuz, "vmlinuz")
        initrd = tarfile.TarInfo("initrd")
        initrd.size = len(guest.initrd)
        tar.addfile(initrd, io.BytesIO(guest.initrd))
    done = guest.run(["sh", "-c", _LOAD.format(capture=capture)], check=False)
    if done.status != 0:
        said = done.stderr.decode(errors="replace").splitlines() or [f"status {done.status}"]
        raise PageInspectError(
            f"the guest cannot load its capture kernel: {said[0]}", f"its console is in {guest.log}"
        )


def _panic(guest: Guest, made: Disks) -> None:
    """Have the guest panic, and wait until its capture kernel is done."""
    process = guest.start(_PROGRAM)
    try:
        status = _wait(process, guest, made)
    except GuestTimeoutError:
        raise
    except GuestLostError as error:
        # The guest is always lost here; its console shows how far it came.
        said = [line for line in qemu.last_lines(guest.log, _CONSOLE_LINES) if _SAID in line]
        if said and _DUMPED in said[-1]:
            return
        if said and "started" not in said[-1]:
            raise _lost(guest, said[-1].partition(_SAID)[2]) from None
        raise _lost(guest, f"no dump: {error.message}") from None
    why = process.stderr.decode(errors="replace").strip() or f"status {status}"
    raise PageInspectError(
        f"the guest did not panic: {why.splitlines()[-1]}", f"its console is in {guest.log}"
    )


def _wait(process: GuestProcess, guest: Guest, made: Disks) -> int:
    """Wait for the end of a process, as long as the guest keeps writing."""
    end = time.monotonic() + _TIMEOUT_S + _TIMEOUT_PER_GIB_S * guest.memory / (1 << 30)
    patience = _SILENCE_S + _SILENCE_PER_GIB_S * guest.memory / (1 << 30)
    seen, since = _written(guest, made), time.monotonic()
    while True:
        try:
            return process.wait(_POLL_S)
        except GuestTimeoutError:
            now = time.monotonic()
            if now > end:
                raise
            if (written := _written(guest, made)) != seen:
                seen, since = written, now
            elif now - since > patience:
                lines = qemu.last_lines(guest.log, _CONSOLE_LINES)
                raise GuestSilentError(
                    f"the guest hangs: it wrote nothing for {patience:.0f} s while dumping itself",
                    console=lines,
                    log=guest.log,
                ) from None


def _written(guest: Guest, made: Disks) -> tuple[int, ...]:
    """Return when the guest last wrote to its console and to its disks, as times of their files."""
    disks = (os.fstat(disk) for disk in (made.dump, made.snapshot))
    return (guest.log.stat().st_mtime_ns, *(disk.st_mtime_ns for disk in disks))


def _lost(guest: Guest, what: str) -> GuestLostError:
    lines = qemu.last_lines(guest.log, _CONSOLE_LINES)
    return GuestLostError(what, console=lines, log=guest.log)
