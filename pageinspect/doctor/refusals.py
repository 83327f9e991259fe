"""Why the kernel refused something, and what fixes that."""

import errno
from pathlib import Path

from ..host import capabilities
from ..trace.bpf_calls import VerifierError
from .finding import Finding


def failed(error: OSError, root: Path, otherwise: str, *needs: tuple[str, ...]) -> Finding:
    """Return the finding for what was refused.

    `needs` are capabilities that it takes, `otherwise` fixes what no rule forbids.
    """
    fix = otherwise
    if capabilities.lockdown(root) == "confidentiality":
        fix = "the lockdown forbids it"
    elif error.errno in {errno.EPERM, errno.EACCES} and not isinstance(error, VerifierError):
        fix = capabilities.advice(*needs, root=root)
    return Finding(ok=False, found=error.strerror or str(error), fix=fix)
