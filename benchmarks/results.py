# SPDX-License-Identifier: GPL-2.0-only
"""Output of benchmarks: a table for people, json for programs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from pageinspect.vm.guest import Guest


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print rows of text, the first `left` columns to the left and all others to the right."""
    align = ["left"] * left + ["right"] * (len(headers) - left)
    print(tabulate(rows, headers=headers, colalign=align, disable_numparse=True))


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    """Write the result to a file, if one was asked for."""
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def accelerator(guest: Guest) -> str:
    """Return what the guest runs under, as words for a heading."""
    return "KVM" if guest.qmp("query-kvm")["enabled"] else "TCG (emulation: only ratios count)"
