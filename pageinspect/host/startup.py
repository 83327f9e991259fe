"""How the command line starts drgn and numpy: without plugins, threads and garbage collection.

Scripts, which own their process, get both libraries as they are.
"""

import gc
import os
from importlib import import_module

_OBJECTS = 20_000
"""The number of new objects at which they are searched for garbage."""


def start_small() -> None:
    """Set what must be set before drgn and numpy are imported, and import numpy."""
    # Threads for linear algebra, of which there is none, keep all processors busy while they start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # drgn's plugins are the commands of its prompt, and what a site adds to find debug information:
    # types come from where the user says.
    os.environ["DRGN_DISABLE_PLUGINS"] = "*"
    os.environ.pop("DRGN_PLUGINS", None)
    # Imports make objects that stay: to search them for garbage at every 700 takes a while.
    gc.set_threshold(_OBJECTS)
    # Here, where few calls are under way: its modules import each other, and every call at the end
    # of a piece of Python's stack maps the next piece, and unmaps it.
    import_module("numpy")
