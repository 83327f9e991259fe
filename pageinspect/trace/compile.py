"""Has bcc compile a program of bpf/, and says why when it or the kernel refuses.

Nothing here needs kernel headers: the programs include none, and bcc's own preamble gets the few
files of bpf/include.
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
from .bpf_calls import NEEDED, VerifierError

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
    """Keep what C code writes to these descriptors; the list that is yielded gets its lines."""
    lines: list[str] = []
    kept = [os.dup(descriptor) for descriptor in descriptors]
    with tempfile.TemporaryFile() as capture:
        for descriptor in descriptors:
            os.dup2(capture.fileno(), descriptor)
        try:
            yield lines
        finally:
            # bcc's C++ streams are those of C, which keep what they have not written yet.
            ctypes.CDLL(None).fflush(None)
            for descriptor, copy in zip(descriptors, kept, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
            capture.seek(0)
            text = capture.read().decode("utf-8", "replace")
            lines += [line.strip() for line in text.splitlines() if line.strip()]


def compile_program(bcc: ModuleType, source: Path, defines: Mapping[str, str]) -> Any:
    """Return the bcc.BPF of this source. Raises PageInspectError when clang refuses it."""
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
            raise refusal(next(known, errno.EINVAL), "a map of the BPF program") from None
        complaint = next((line for line in output if "error" in line), str(error))
        raise PageInspectError(
            f"bcc cannot compile {source.name}: {complaint}",
            f"this bcc ({bcc.__version__}) may be too old, or damaged: update it",
        ) from None


def refusal(number: int, what: str, root: Path = Path("/")) -> PageInspectError:
    """Return the error for a kernel that refused `what`, by errno and what the system says."""
    reason = os.strerror(number)
    if capabilities.lockdown(root) == "confidentiality":
        hint = "the kernel is locked down for confidentiality, which forbids BPF to read its memory"
    elif number in {errno.EPERM, errno.EACCES}:
        hint = capabilities.advice(capabilities.BPF, capabilities.MAPS, root=root)
    elif number == errno.ENOMEM:
        hint = "free memory, or trace with fewer options: maps are made whole at the start"
    elif number == errno.ENOENT:
        hint = f"this kernel has no tracepoint {TRACEPOINT} (CONFIG_TRACEPOINTS)"
    else:
        hint = NEEDED
    return PageInspectError(f"the kernel refuses {what}: {reason}", hint)


@contextlib.contextmanager
def kernel_may_refuse(what: str) -> Iterator[None]:
    """Turn whatever is raised in this context into the error for a kernel that refused `what`."""
    ctypes.set_errno(0)
    try:
        with _captured():
            yield
    except VerifierError as error:
        raise PageInspectError(
            f"the kernel's verifier refuses {what}: {error.line}",
            f"this is a defect, please report it: this line, and Linux {os.uname().release}",
        ) from None
    except PageInspectError:
        raise
    except Exception as error:  # noqa: BLE001 - bcc raises nothing more specific
        number = error.errno if isinstance(error, OSError) else None
        raise refusal(number or ctypes.get_errno(), what) from None
