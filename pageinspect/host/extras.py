# SPDX-License-Identifier: GPL-2.0-only
"""Imports of libraries that only some features need, which extras of the package install."""

import sys
from importlib import import_module
from typing import Any

from ..errors import PageInspectError


def load_library(module: str, extra: str) -> Any:
    """Import and return a module. Raises PageInspectError if its library is not installed."""
    library = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != library:
            raise
        raise PageInspectError(
            f"{library} is not installed, which the extra {extra} has",
            f"{sys.executable} -m pip install 'pageinspect[{extra}]'",
        ) from None
