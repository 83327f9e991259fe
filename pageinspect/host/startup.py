# SPDX-License-Identifier: GPL-2.0-only
"""Configures drgn and numpy for the command line: no plugins, no threads, fewer modules.

Garbage is collected less often, too.

The Python API does not do this: a script controls its own process.
"""

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_OBJECTS = 20_000
"""Number of new objects that triggers a garbage collection."""


_HELPERS = "drgn.helpers.linux"


class _Unexecuted(Loader):
    """Loads a package without its own code."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:  # noqa: ARG002 - as it is called
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Leave the package as it is: its modules can be imported by their names."""


class _HelpersFinder(MetaPathFinder):
    """Finds drgn's helpers, but not the code of their package, which imports all of them.

    A command needs a few, and always by their modules. The others take a fifth of the time of all
    imports of `summary`: drgn's command line is among them.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _HELPERS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None:
            spec.loader = _Unexecuted()
        return spec


def configure_libraries() -> None:
    """Set up the environment for drgn and numpy before they are imported, and import numpy."""
    # pageinspect uses no linear algebra, and starting OpenBLAS's threads keeps all CPUs busy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Plugins add commands to drgn's prompt, or sources of debug information. Types must come only
    # from the sources that the user chose.
    os.environ["DRGN_DISABLE_PLUGINS"] = "*"
    os.environ.pop("DRGN_PLUGINS", None)
    # Imports create objects that are never freed. Collections at every 700 objects are slow.
    gc.set_threshold(_OBJECTS)
    sys.meta_path.insert(0, _HelpersFinder())
    # Import numpy here, where the call stack is shallow: deep in the stack, its nested imports make
    # Python map and unmap stack chunks repeatedly.
    import_module("numpy")
