# SPDX-License-Identifier: GPL-2.0-only
"""Decodes reports of dump_page() in a log, without access to the kernel that printed them.

The text has less information than memory: flags are names, pointers may be hashed, and types that
the kernel's table of names lacks are printed without a name.
"""

from .decode import decode
from .log import log_lines

__all__ = ["decode", "log_lines"]
