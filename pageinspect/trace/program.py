"""One BPF program of bpf/: compiled, attached, its map read.

Nothing here needs kernel headers: the programs include none, and bcc's own preamble gets the few
files of bpf/include.
"""

import contextlib
import ctypes
import errno
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..errors import PageInspectError
from ..layout import PageLayout
from ..resources import data_folder
from ..schemes import SLOTS, WordScheme

TRACEPOINT = "mm_page_free"
ORDERS = 16
"""As in bpf/page_free.h."""

_KEYS = SLOTS + 2
_LOCKDOWN = Path("/sys/kernel/security/lockdown")


@dataclass(frozen=True, slots=True)
class Counts:
    """Frees since the program was attached."""

    typed: npt.NDArray[np.uint64]
    """(SLOTS, ORDERS) frees of pages with a type set."""
    untyped: npt.NDArray[np.uint64]
    """(ORDERS,) frees of all other pages."""
    unread: int
    """Frees whose page could not be read."""
    missed: int
    """Frees while the program ran already on that CPU, in the interrupted task: the kernel does not
    run it then, but counts the times."""

    def __sub__(self, earlier: "Counts") -> "Counts":
        return Counts(
            self.typed - earlier.typed,
            self.untyped - earlier.untyped,
            self.unread - earlier.unread,
            self.missed - earlier.missed,
        )


NOTHING = Counts(np.zeros((SLOTS, ORDERS), np.uint64), np.zeros(ORDERS, np.uint64), 0, 0)
"""The counts of a program that has just been attached."""


def defines(layout: PageLayout) -> dict[str, int]:
    """Return the numbers of this kernel that bpf/page_type.h and the programs are compiled with."""
    scheme = layout.scheme
    if not isinstance(scheme, WordScheme):
        raise PageInspectError(
            f"tracing knows no page types of the scheme {scheme.name}",
            "this kernel is newer than pageinspect: update it",
        )
    return {
        "PAGE_TYPE_OFFSET": layout.page_type,
        "PAGE_TYPE_INVERT": scheme.invert,
        "PAGE_TYPE_SHIFT": scheme.shift,
        "PAGE_TYPE_BASE": scheme.base,
        "PAGE_TYPE_BIAS": scheme.typed_bias,
        "PAGE_TYPE_BELOW": scheme.typed_below,
    }


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


def _compile(bcc: ModuleType, source: Path, layout: PageLayout) -> Any:
    """Return the bcc.BPF of this source. Raises PageInspectError when clang refuses it."""
    flags = [f"-I{source.parent}"]
    flags += [f"-D{name}=({value})" for name, value in defines(layout).items()]
    try:
        # bcc looks for its few headers in include/ of this folder.
        with _environment("BCC_KERNEL_SOURCE", str(source.parent)), _captured() as output:
            return bcc.BPF(src_file=os.fsencode(source), cflags=flags)
    except Exception as error:  # noqa: BLE001 - bcc raises nothing more specific
        # bcc makes the maps while it compiles.
        refused = next((line for line in output if "could not open bpf map" in line), None)
        if refused is not None:
            known = (errno.EPERM, errno.EACCES, errno.ENOMEM)
            number = next((n for n in known if os.strerror(n) in refused), errno.EINVAL)
            raise refusal(number, "a map of the BPF program", _read_lockdown()) from None
        complaint = next((line for line in output if "error" in line), str(error))
        raise PageInspectError(
            f"bcc cannot compile {source.name}: {complaint}",
            f"this bcc ({bcc.__version__}) may be too old, or damaged: update it",
        ) from None


def refusal(number: int, what: str, lockdown: str = "") -> PageInspectError:
    """Return the error for a kernel that refused `what`, by errno and the lockdown file."""
    reason = os.strerror(number)
    if "[confidentiality]" in lockdown:
        hint = "the kernel is locked down for confidentiality, which forbids BPF to read its memory"
    elif number in {errno.EPERM, errno.EACCES}:
        hint = "run as root outside a container, or with CAP_BPF, CAP_PERFMON and CAP_SYS_RESOURCE"
    elif number == errno.ENOENT:
        hint = f"this kernel has no tracepoint {TRACEPOINT} (CONFIG_TRACEPOINTS)"
    else:
        hint = "tracing needs Linux 5.8 or later with CONFIG_BPF_SYSCALL and CONFIG_BPF_EVENTS"
    return PageInspectError(f"the kernel refuses {what}: {reason}", hint)


def _read_lockdown() -> str:
    try:
        return _LOCKDOWN.read_text(encoding="ascii")
    except OSError:
        return ""


class PageFreeProgram:
    """bpf/page_free.bpf.c, loaded into this kernel; counts while attached.

    Detached at the latest when the process ends, however it ends: the kernel drops the program and
    its map with the last descriptor.
    """

    def __init__(self, bcc: ModuleType, layout: PageLayout) -> None:
        self._bpf = _compile(bcc, data_folder("bpf") / "page_free.bpf.c", layout)
        self._lib = bcc.lib
        with self._kernel_may_refuse("the BPF program"):
            self._function = self._bpf.load_func(b"count_page_free", bcc.BPF.RAW_TRACEPOINT)
        table = self._bpf[b"frees"]
        self._map = int(table.map_fd)
        self._buffer = np.zeros((_KEYS, table.total_cpu, ORDERS), np.uint64)

    @contextlib.contextmanager
    def _kernel_may_refuse(self, what: str) -> Iterator[None]:
        ctypes.set_errno(0)
        try:
            with _captured():
                yield
        except Exception:  # noqa: BLE001 - bcc raises nothing more specific
            raise refusal(ctypes.get_errno(), what, _read_lockdown()) from None

    def attach(self) -> None:
        """Start counting. Raises PageInspectError."""
        with self._kernel_may_refuse("to attach to the raw tracepoint mm_page_free"):
            self._bpf.attach_raw_tracepoint(tp=TRACEPOINT.encode(), fn_name=b"count_page_free")

    def detach(self) -> None:
        """Stop counting; the counts stay readable. Does nothing when not attached."""
        if TRACEPOINT.encode() in self._bpf.raw_tracepoint_fds:
            self._bpf.detach_raw_tracepoint(TRACEPOINT.encode())

    def read(self) -> Counts:
        """Return the counts since attach."""
        # bcc's own tables build Python objects for each CPU and order.
        for key in range(_KEYS):
            value = self._buffer[key].ctypes.data_as(ctypes.c_void_p)
            if self._lib.bpf_lookup_elem(self._map, ctypes.byref(ctypes.c_int(key)), value) < 0:
                raise refusal(ctypes.get_errno(), "to read the counts")
        totals = self._buffer.sum(axis=1)
        return Counts(
            totals[:SLOTS], totals[SLOTS], int(totals[SLOTS + 1].sum()), self._recursion_misses()
        )

    def _recursion_misses(self) -> int:
        # Since Linux kernel commit 9ed9e9ba2337 ("bpf: Count the number of times recursion was
        # prevented") (in v5.12); raw tracepoints are guarded since Linux kernel commit
        # 05b24ff9b2cf ("bpf: Prevent bpf program recursion for raw tracepoint probes") (in v6.2).
        fdinfo = Path(f"/proc/self/fdinfo/{self._function.fd}").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in fdinfo.splitlines() if ":" in line)
        return int(fields.get("recursion_misses", "0"))

    def close(self) -> None:
        """Detach and give everything back to the kernel."""
        self._bpf.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
