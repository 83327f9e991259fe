"""Why the kernel refused something, and what mends that."""

import errno
from pathlib import Path

from .. import rights
from ..trace.bpf_calls import VerifierError
from .finding import Finding


def locked_down(root: Path) -> str:
    """Return the lockdown level: none, integrity, confidentiality; empty when it is not told."""
    try:
        text = (root / "sys/kernel/security/lockdown").read_text(encoding="ascii")
    except OSError:
        return ""
    return text.partition("[")[2].partition("]")[0]


def failed(error: OSError, root: Path, otherwise: str, *needs: tuple[str, ...]) -> Finding:
    """Return the finding for what was refused.

    `needs` are capabilities that it takes, `otherwise` mends what no rule forbids.
    """
    mend = otherwise
    if locked_down(root) == "confidentiality":
        mend = "the lockdown forbids it"
    elif error.errno in {errno.EPERM, errno.EACCES} and not isinstance(error, VerifierError):
        mend = rights.advice(*needs, root=root)
    return Finding(ok=False, found=error.strerror or str(error), mend=mend)
