# SPDX-License-Identifier: GPL-2.0-only
"""Compiles a program of bpf/ with bcc, and reports why bcc or the kernel rejected it.

Kernel headers are not needed: the programs include none, and bpf/include has the few files that
bcc's preamble includes.
"""

import contextlib
import ctypes
import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import PageInspectError
from ..host import capabilities
from .bpf_calls import KERNEL_REQUIREMENT, VerifierError

TRACEPOINT = "mm_page_free"


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def _captured(descriptors: tuple[int, ...] = (1, 2)) -> Iterator[list[str]]:
    """Capture what C code writes to these descriptors; the yielded list gets its lines."""
    lines: list[str] = []
    kept = [os.dup(descriptor) for descriptor in descriptors]
    with tempfile.TemporaryFile() as capture:
        for descriptor in descriptors:
            os.dup2(capture.fileno(), descriptor)
        try:
            yield lines
        finally:
            # bcc's C++ streams share the buffers of C stdio, which may hold unwritten text.
            ctypes.CDLL(None).fflush(None)
            for descriptor, copy in zip(descriptors, kept, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
            capture.seek(0)
            text = capture.read().decode("utf-8", "replace")
            lines += [line.strip() for line in text.splitlines() if line.strip()]


def compile_program(bcc: ModuleType, source: Path, defines: Mapping[str, str]) -> Any:
    """Compile this source and return its bcc.BPF. Raises PageInspectError."""
    flags = [f"-I{source.parent}"]
    flags += [f"-D{name}={value}" for name, value in defines.items()]
    output: list[str] = []
    try:
        # bcc looks for its few headers in include/ of this folder.
        with _environment("BCC_KERNEL_SOURCE", str(source.parent)), _captured() as output:
            return bcc.BPF(src_file=os.fsencode(source), cflags=flags)
    except Exception as error:  # noqa: BLE001 - bcc raises nothing more specific
        # bcc makes the maps while it compiles.
        refused = next((line for line in output if "could not open bpf map" in line), None)
        if refused is not None:
            known = (n for n in errno.errorcode if refused.endswith(os.strerror(n)))
            raise kernel_error(next(known, errno.EINVAL), "a map of the BPF program") from None
        complaint = next((line for line in output if "error" in line), str(error))
        raise PageInspectError(
            f"bcc cannot compile {source.name}: {complaint}",
            f"this bcc ({bcc.__version__}) may be too old, or damaged: update it",
        ) from None


def kernel_error(number: int, what: str, root: Path = Path("/")) -> PageInspectError:
    """Return the error for an operation `what` that the kernel refused with this errno."""
    reason = os.strerror(number)
    if capabilities.lockdown(root) == "confidentiality":
        hint = "the kernel is locked down for confidentiality, which forbids BPF to read its memory"
    elif number in {errno.EPERM, errno.EACCES}:
        hint = capabilities.advice(capabilities.BPF, capabilities.MAPS, root=root)
    elif number == errno.ENOMEM:
        hint = "free memory, or trace with fewer options: all maps are allocated at the start"
    elif number == errno.ENOENT:
        hint = f"this kernel has no tracepoint {TRACEPOINT} (CONFIG_TRACEPOINTS)"
    else:
        hint = KERNEL_REQUIREMENT
    return PageInspectError(f"the kernel refuses {what}: {reason}", hint)


@contextlib.contextmanager
def kernel_errors(what: str) -> Iterator[None]:
    """Turn any exception in this context into the error for a refused operation `what`."""
    ctypes.set_errno(0)
    try:
        with _captured():
            yield
    except VerifierError as error:
        raise PageInspectError(
            f"the kernel's verifier refuses {what}: {error.line}",
            f"this is a defect: please report this line and the kernel, Linux {os.uname().release}",
        ) from None
    except PageInspectError:
        raise
    except Exception as error:  # noqa: BLE001 - bcc raises nothing more specific
        number = error.errno if isinstance(error, OSError) else None
        raise kernel_error(number or ctypes.get_errno(), what) from None
