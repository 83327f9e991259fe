# SPDX-License-Identifier: GPL-2.0-only
"""A machine that doctor examines: files in a folder, rights, system calls that are refused."""

import os
from pathlib import Path

from pageinspect.doctor.finding import CheckedItem, Finding
from pageinspect.doctor.items import ITEMS


def put(root: Path, name: str, content: bytes | str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


SYS_RAWIO, SYSLOG, PERFMON, BPF = 17, 34, 38, 39


def holds(root: Path, *capabilities: int) -> None:
    """Have the process hold these capabilities alone."""
    mask = sum(1 << number for number in capabilities)
    put(root, "proc/self/status", f"Name:\tx\nCapEff:\t{mask:016x}\n")


def refuse(number: int) -> object:
    def refusing(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return refusing


def examined(**missing: str) -> tuple[CheckedItem, ...]:
    """Every item as found, but for those named with what fixes them."""
    return tuple(
        CheckedItem(
            item, Finding(item.name not in missing, "what was found", missing.get(item.name, ""))
        )
        for item in ITEMS
    )
