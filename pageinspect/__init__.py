# SPDX-License-Identifier: GPL-2.0-only
"""Decodes the struct pages of a Linux kernel, and traces pages that are freed with a type."""

from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .classify.selected import SelectedPages
    from .errors import PageInspectError, UsageError
    from .inspector.inspector import Inspector
    from .inspector.opening import from_program, open_core, open_guest, open_live
    from .inspector.results import (
        AuditResult,
        CheckResult,
        ContiguityResult,
        ListResult,
        ObstaclesResult,
        OwnersResult,
        PageResult,
        PagesResult,
        ProcessesResult,
        Result,
        RunsResult,
        SummaryResult,
    )
    from .inspector.saved import SavedInspector, open_snapshot

__all__ = [
    "AuditResult",
    "CheckResult",
    "ContiguityResult",
    "Inspector",
    "ListResult",
    "ObstaclesResult",
    "OwnersResult",
    "PageInspectError",
    "PageResult",
    "PagesResult",
    "ProcessesResult",
    "Result",
    "RunsResult",
    "SavedInspector",
    "SelectedPages",
    "SummaryResult",
    "UsageError",
    "__version__",
    "from_program",
    "open_core",
    "open_guest",
    "open_live",
    "open_snapshot",
]

_MODULES = {
    "classify.selected": ("SelectedPages",),
    "errors": ("PageInspectError", "UsageError"),
    "inspector.inspector": ("Inspector",),
    "inspector.opening": ("from_program", "open_core", "open_guest", "open_live"),
    "inspector.saved": ("SavedInspector", "open_snapshot"),
}
_RESULTS = "inspector.results"


def __getattr__(name: str) -> object:
    """Import public names when they are first used, so that --help does not import drgn."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = next((each for each, names in _MODULES.items() if name in names), _RESULTS)
    return getattr(import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    hidden = {"TYPE_CHECKING", "_MODULES", "_RESULTS"}
    return sorted({*globals(), *__all__} - hidden)
