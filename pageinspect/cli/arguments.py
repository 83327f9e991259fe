# SPDX-License-Identifier: GPL-2.0-only
"""Types of option values. Each raises ArgumentTypeError that says what it expects."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..errors import did_you_mean


def whole_number(what: str, low: int, high: int) -> Callable[[str], int]:
    """Return the type of an integer from `low` to `high`; `what` names it in errors."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} ({low} to {high})")
        return value

    return number


repeated = whole_number("a number of seconds", 1, 10**8)
"""Type of --every."""
kept = whole_number("a number of snapshots", 1, 10**9)
"""Type of --keep."""

_LEAST_S, _MOST_S = 0.01, 1e8
"""Bounds of a time in seconds; the upper one is about three years."""


def seconds(text: str) -> float:
    """Type of a time in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not _LEAST_S <= value <= _MOST_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds ({_LEAST_S} to {_MOST_S:.0f})"
        )
    return value


def names(text: str) -> tuple[str, ...]:
    """Type of options such as --type T,…: the names, at least one."""
    found = tuple(name for name in text.split(",") if name)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names")
    return found


class NamesOf:
    """Type of options such as --by K,…, whose names are known; completion offers `choices`."""

    def __init__(self, choices: Sequence[str], advice: str = "") -> None:
        """`advice` names the choices, if there is more to say than their names."""
        self.choices = choices
        self._advice = advice or f"choose from {', '.join(choices)}"

    def __call__(self, text: str) -> tuple[str, ...]:
        """Return the names."""
        found = names(text)
        for name in found:
            if name not in self.choices:
                advice = did_you_mean(name, self.choices, self._advice)
                raise argparse.ArgumentTypeError(f"there is no {name!r}; {advice}")
        return found


_LOCAL = re.compile(r"local(?::([1-9]\d{0,3}))?", re.ASCII)
_ADDRESS = re.compile(r"(?!local:)(?:[a-z]+://)?[^/\s]+:\d{1,5}", re.ASCII)


class Cluster(NamedTuple):
    """Where to run commands."""

    address: str
    """Of a scheduler; empty for processes on this machine."""
    processes: int | None = None
    """On this machine; None is one per processor."""


def cluster_of(text: str) -> Cluster:
    """Type of --dask: local, local:N, or the address of a scheduler."""
    local = _LOCAL.fullmatch(text)
    if local is not None:
        return Cluster("", int(local[1]) if local[1] else None)
    if _ADDRESS.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not local, local:N, or the address of a scheduler as tcp://host:8786"
        )
    return Cluster(text if "://" in text else f"tcp://{text}")
