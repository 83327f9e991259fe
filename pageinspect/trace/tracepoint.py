"""The program at a raw tracepoint whose arguments have their types in BTF, which bcc cannot load.

The verifier then knows that the first argument is a struct page, and lets the program load from it:
without a helper's call, which is most of what a free costs otherwise. All kernels that have what
else tracing needs can do it.
"""

import ctypes
import errno
import os
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from ..btf.find import LIVE_BTF, read_btf
from ..btf.parse import Kind

_SYS_BPF = 321
_PROG_LOAD, _RAW_TRACEPOINT_OPEN = 5, 17
_TRACING = 26
"""Of enum bpf_prog_type."""
_TRACE_RAW_TP = 23
"""Of enum bpf_attach_type."""
_INSTRUCTION_BYTES = 8


class _Load(ctypes.Structure):
    """union bpf_attr of BPF_PROG_LOAD."""

    _fields_: ClassVar = [
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
        ("unused", ctypes.c_uint64 * 4),
        ("line_info_cnt", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
    ]


class _Open(ctypes.Structure):
    """union bpf_attr of BPF_RAW_TRACEPOINT_OPEN; the name is in the program."""

    _fields_: ClassVar = [("name", ctypes.c_uint64), ("prog_fd", ctypes.c_uint64)]


def _bpf(command: int, attr: ctypes.Structure) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.syscall(_SYS_BPF, command, ctypes.byref(attr), ctypes.sizeof(attr)))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def _type_id(bcc: ModuleType, tracepoint: str) -> int:
    """Return the BTF id of the type of the tracepoint's arguments. Raises OSError."""
    # libbpf, which comes with bcc's library, is faster than a parser in Python.
    find = getattr(bcc.lib, "libbpf_find_vmlinux_btf_id", None)
    type_id = 0 if find is None else int(find(tracepoint.encode(), _TRACE_RAW_TP))
    if type_id <= 0:
        # An old libbpf does not know all kinds of a new kernel's types.
        type_id = read_btf(LIVE_BTF).find(Kind.TYPEDEF, f"btf_trace_{tracepoint}") or 0
    if type_id <= 0:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return type_id


class TypedTracepoint:
    """A program at a raw tracepoint. Raises OSError when the kernel refuses it."""

    def __init__(self, bcc: ModuleType, tracepoint: str, name: str, instructions: bytes) -> None:
        """Load the instructions of one of bcc's functions."""
        code = ctypes.create_string_buffer(instructions, len(instructions))
        license_ = ctypes.create_string_buffer(b"GPL")
        self.fd = _bpf(
            _PROG_LOAD,
            _Load(
                prog_type=_TRACING,
                insn_cnt=len(instructions) // _INSTRUCTION_BYTES,
                insns=ctypes.addressof(code),
                license=ctypes.addressof(license_),
                prog_name=name.encode()[:15],
                expected_attach_type=_TRACE_RAW_TP,
                attach_btf_id=_type_id(bcc, tracepoint),
            ),
        )
        self._link: int | None = None

    def attach(self) -> None:
        """Have it run from now on."""
        self._link = _bpf(_RAW_TRACEPOINT_OPEN, _Open(prog_fd=self.fd))

    def detach(self) -> None:
        """Have it run no more; does nothing when it is not attached."""
        if self._link is not None:
            os.close(self._link)
            self._link = None

    def missed(self) -> int:
        """Return how often the kernel did not run it, because it ran already on that CPU."""
        # Since Linux kernel commit 9ed9e9ba2337 ("bpf: Count the number of times recursion was
        # prevented") (in v5.12); raw tracepoints are guarded since Linux kernel commit
        # 05b24ff9b2cf ("bpf: Prevent bpf program recursion for raw tracepoint probes") (in v6.2).
        fdinfo = Path(f"/proc/self/fdinfo/{self.fd}").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in fdinfo.splitlines() if ":" in line)
        return int(fields.get("recursion_misses", "0"))

    def close(self) -> None:
        """Detach, and give the program back to the kernel."""
        self.detach()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
