# SPDX-License-Identifier: GPL-2.0-only
"""Turns the OSError of a probe into a finding."""

import errno
from pathlib import Path

from ..host import capabilities
from ..trace.bpf_calls import VerifierError
from .finding import Finding


def error_finding(error: OSError, root: Path, otherwise: str, *needs: tuple[str, ...]) -> Finding:
    """Return the finding for an operation that failed with `error`.

    `needs` are the capabilities that it needs; `otherwise` is the fix for an error that is neither
    lockdown nor a missing capability.
    """
    fix = otherwise
    if capabilities.lockdown(root) == "confidentiality":
        fix = "the lockdown forbids it"
    elif error.errno in {errno.EPERM, errno.EACCES} and not isinstance(error, VerifierError):
        fix = capabilities.advice(*needs, root=root)
    return Finding(ok=False, found=error.strerror or str(error), fix=fix)
