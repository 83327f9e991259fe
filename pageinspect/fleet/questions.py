# SPDX-License-Identifier: GPL-2.0-only
"""The questions on a fleet, by name: each is a module of this package with report(fleet, top)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answer import FleetReport
    from .engine import Fleet

QUESTIONS = {
    "uses": "pages of each use at the newest snapshots: the spread over hosts, and its ends",
    "growth": "owners that grow, in bytes per day by least squares, and where most",
    "contiguity": "free blocks of 2 MiB, and blocks with unmovable pages",
    "outliers": "hosts far from their peers of the same release, and the owner that makes it",
    "frees": "pages freed with a type set, by type and caller",
    "hosts": "the hosts, their snapshots, boots and errors",
    "snapshots": "each snapshot, the newest first, with its release and source",
}
"""Each question and its summary."""


def needs(question: str) -> tuple[str, ...]:
    """Return the tables that a question reads beside snapshots."""
    return tuple(_module(question).NEEDS)


def ask(fleet: "Fleet", question: str, top: int = 0) -> "FleetReport":
    """Return the report of a question with the first `top` rows, 0 for all.

    Raises PageInspectError for files that cannot be read.
    """
    found: FleetReport = _module(question).report(fleet, top)
    return found


def _module(question: str) -> Any:
    return import_module(f".{question}", __package__)
