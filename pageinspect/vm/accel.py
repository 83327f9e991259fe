# SPDX-License-Identifier: GPL-2.0-only
"""Chooses the accelerator of guests: KVM only if a guest starts under it."""

import json
import os
import time
from pathlib import Path

from ..errors import UsageError
from ..host.files import read_trusted, write_trusted
from . import cache, qemu
from .progress import Progress, silent

AUTO = "auto"
VARIABLE = "PAGEINSPECT_ACCEL"
CHOICES = (AUTO, qemu.KVM, qemu.TCG)

_DEVICE = Path("/dev/kvm")
_STARTED = b"pageinspect-init: started"
_TIMEOUT_S = 10.0


def choose(asked: str | None, kernel: Path, initrd: str, progress: Progress = silent) -> str:
    """Return "kvm" or "tcg"; `asked` None means $PAGEINSPECT_ACCEL, else "auto".

    "auto" boots `kernel` with `initrd` under KVM, once per boot of the host.
    """
    asked = asked or os.environ.get(VARIABLE) or AUTO
    if asked not in CHOICES:
        raise UsageError(f"no accelerator {asked}", f"choose one of {', '.join(CHOICES)}")
    if asked != AUTO:
        return asked
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return qemu.TCG
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    verdict = cache.folder() / "accelerator.json"
    with cache.locked(verdict, progress):
        try:
            known = json.loads(read_trusted(verdict))
        except (FileNotFoundError, ValueError, RecursionError):
            known = {}
        sound = isinstance(known, dict) and known.get("accelerator") in (qemu.KVM, qemu.TCG)
        if not sound or known.get("boot") != boot:
            progress("trying whether a guest starts under KVM")
            works = _starts(kernel, initrd)
            known = {"boot": boot, "accelerator": qemu.KVM if works else qemu.TCG}
            write_trusted(verdict, json.dumps(known))
            progress(f"guests run under {known['accelerator'].upper()}")
    return str(known["accelerator"])


def _starts(kernel: Path, initrd: str) -> bool:
    """Return whether the init script of a guest starts under KVM.

    An accessible /dev/kvm is not enough: on some nested hosts a guest dies of an internal error or
    hangs at once.
    """
    console = cache.folder("logs") / f"kvm-probe-{os.getpid()}.log"
    machine = qemu.Machine(qemu.KVM, kernel, initrd, console, memory=512 << 20, cpus=1)
    process = qemu.Qemu(machine)
    try:
        end = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < end:
            ended = process.wait(0.05) is not None
            if console.exists() and _STARTED in console.read_bytes():
                return True
            if ended:
                break
        return False
    finally:
        process.close()
