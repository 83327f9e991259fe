# SPDX-License-Identifier: GPL-2.0-only
"""Errors for what the kernel refuses to a tracer."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import PageInspectError
from ..host import capabilities
from .bpf_calls import KERNEL_REQUIREMENT, VerifierError


def kernel_error(
    number: int, what: str, absent: str = "", root: Path = Path("/")
) -> PageInspectError:
    """Return the error for an operation `what` that the kernel refused with this errno.

    `absent` names what the kernel lacks if the errno is ENOENT.
    """
    reason = os.strerror(number)
    if capabilities.lockdown(root) == "confidentiality":
        hint = "the kernel is locked down for confidentiality, which forbids BPF to read its memory"
    elif number in {errno.EPERM, errno.EACCES}:
        hint = capabilities.advice(capabilities.BPF, capabilities.MAPS, root=root)
    elif number == errno.ENOMEM:
        hint = "free memory, or trace with fewer options: all maps are allocated at the start"
    elif number == errno.ENOENT and absent:
        hint = f"this kernel has no {absent}"
    else:
        hint = KERNEL_REQUIREMENT
    return PageInspectError(f"the kernel refuses {what}: {reason}", hint)


@contextlib.contextmanager
def kernel_errors(what: str, absent: str = "") -> Iterator[None]:
    """Turn an OSError in this context into the error for a refused operation `what`."""
    try:
        yield
    except VerifierError as error:
        raise PageInspectError(
            f"the kernel's verifier refuses {what}: {error.line}",
            f"this is a defect: please report this line and the kernel, Linux {os.uname().release}",
        ) from None
    except OSError as error:
        raise kernel_error(error.errno or errno.EINVAL, what, absent) from None
