"""Decodes the reports of dump_page() in a log, without that kernel.

The text has less than memory: flags come by name, pointers may be hashed, and the names of types
are those that the kernel's own table has, which lacks some.
"""

from .decode import decode
from .log import log_lines

__all__ = ["decode", "log_lines"]
