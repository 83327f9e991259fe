# SPDX-License-Identifier: GPL-2.0-only
"""Finds out whether drgn has loaded debug information of the kernel."""

from drgn import ModuleFileStatus, Program


def has_debug_info(prog: Program) -> bool:
    """Return whether drgn has loaded debug information of the kernel."""
    try:
        return prog.main_module().debug_file_status == ModuleFileStatus.HAVE
    except LookupError:
        return False
