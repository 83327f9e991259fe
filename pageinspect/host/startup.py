"""How this program starts drgn and numpy: without what it does not use of them.

For the command line alone, which owns its process: scripts get both libraries as these are.
"""

import gc
import os
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec

_HELPERS = ("drgn.helpers.common", "drgn.helpers.linux")
_OBJECTS = 20_000
"""So many new ones that may be in cycles are looked through for garbage."""


def start_small() -> None:
    """Set what must be set before drgn and numpy are imported, and import numpy.

    Both take twice as long without.
    """
    # Threads for linear algebra, of which there is none, keep all processors busy while they start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # drgn's plugins are the commands of its prompt, and what a site adds to find debug information:
    # types come from where the user says.
    os.environ["DRGN_DISABLE_PLUGINS"] = "*"
    os.environ.pop("DRGN_PLUGINS", None)
    # Imports make objects that stay: to look through them for garbage at each 700 takes a while.
    gc.set_threshold(_OBJECTS)
    # Here, where few calls are under way: its modules import each other, and every call at the end
    # of a piece of Python's stack maps the next piece, and unmaps it.
    import_module("numpy")
    for package in _HELPERS:
        if package not in sys.modules:
            _import_by_module(package)


def _import_by_module(name: str) -> None:
    """Let the modules of a package be imported without the package's own code.

    drgn's import all of their modules, and one of them drgn's prompt, to offer their names as their
    own; they run when such a name is asked for.
    """
    spec = find_spec(name)
    if spec is None or spec.loader is None:
        return
    package, loader = module_from_spec(spec), spec.loader

    def find(attribute: str) -> object:
        # The machinery of imports asks for names of its own.
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        del package.__dict__["__getattr__"]
        loader.exec_module(package)
        return getattr(package, attribute)

    package.__dict__["__getattr__"] = find
    parent, _, own = name.rpartition(".")
    setattr(sys.modules[parent], own, package)
    sys.modules[name] = package
