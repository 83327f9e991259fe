"""Types, constants, variables and symbols of a kernel without its debug information.

parse.py reads the BTF format, types.py turns it into drgn types, find.py finds BTF and kallsyms
in a kernel, answers.py and keys.py keep what was asked of them, and finders.py registers all of it
with a drgn Program, so that everything after asks drgn one way, whether the answers come from BTF
or from DWARF.
"""

from .cache import Answers
from .finders import attach_btf

__all__ = ["Answers", "attach_btf"]
