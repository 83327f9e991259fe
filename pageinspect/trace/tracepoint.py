# SPDX-License-Identifier: GPL-2.0-only
"""Programs on a raw tracepoint with BTF-typed arguments, which bcc cannot load.

The verifier then knows that the first argument is a struct page, so the program reads it with a
plain load instead of a helper call, which would be most of the cost of a free. Every kernel that
meets the other requirements of tracing supports this.
"""

import errno
import os
from pathlib import Path
from types import ModuleType

from ..target.symbols.btf import BtfKind
from ..target.symbols.find import LIVE_BTF, read_btf
from . import bpf_calls


def _type_id(bcc: ModuleType | None, tracepoint: str) -> int:
    """Return the BTF id of the type of the tracepoint's arguments. Raises OSError."""
    # libbpf, which comes with bcc's library, is faster than a parser in Python.
    find = None if bcc is None else getattr(bcc.lib, "libbpf_find_vmlinux_btf_id", None)
    type_id = 0 if find is None else int(find(tracepoint.encode(), bpf_calls.TRACE_RAW_TP))
    if type_id <= 0:
        # An old libbpf may not know all BTF kinds of a new kernel.
        type_id = read_btf(LIVE_BTF).find(BtfKind.TYPEDEF, f"btf_trace_{tracepoint}") or 0
    if type_id <= 0:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return type_id


class TypedTracepoint:
    """A program on a raw tracepoint. Raises OSError when the kernel refuses it."""

    def __init__(
        self, bcc: ModuleType | None, tracepoint: str, name: str, instructions: bytes
    ) -> None:
        """Load these instructions. `bcc` is optional: its libbpf finds the BTF id faster."""
        self.fd = bpf_calls.load(
            bpf_calls.TRACING,
            instructions,
            name,
            expected_attach_type=bpf_calls.TRACE_RAW_TP,
            attach_btf_id=_type_id(bcc, tracepoint),
        )
        self._link: int | None = None

    def attach(self) -> None:
        """Attach the program. Raises OSError."""
        self._link = bpf_calls.open_raw_tracepoint(self.fd)

    def detach(self) -> None:
        """Detach the program; does nothing when it is not attached."""
        if self._link is not None:
            os.close(self._link)
            self._link = None

    def missed(self) -> int:
        """Return how often the kernel skipped the program because it already ran on that CPU."""
        # Since Linux kernel commit 9ed9e9ba2337 ("bpf: Count the number of times recursion was
        # prevented") (in v5.12); raw tracepoints are guarded since Linux kernel commit
        # 05b24ff9b2cf ("bpf: Prevent bpf program recursion for raw tracepoint probes") (in v6.2).
        fdinfo = Path(f"/proc/self/fdinfo/{self.fd}").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in fdinfo.splitlines() if ":" in line)
        return int(fields.get("recursion_misses", "0"))

    def close(self) -> None:
        """Detach and unload the program."""
        self.detach()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
