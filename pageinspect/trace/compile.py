# SPDX-License-Identifier: GPL-2.0-only
"""Compiles programs of bpf/ with bcc, and keeps them.

Kernel headers are not needed: the programs include none, and bpf/include has the few files that
bcc's preamble includes.
"""

import contextlib
import ctypes
import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from ..errors import PageInspectError
from ..host.files import UntrustedError
from ..paths import data_folder
from . import bpf_calls
from .compiled import CompiledProgram, of_instructions
from .find_bcc import fingerprint, load_bcc, preload
from .kernel_errors import kernel_error
from .program_cache import ProgramCache


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


class Compiler:
    """Compiles programs of bpf/ with the bcc in this folder, or takes what is kept of them.

    bcc is loaded only to compile.
    """

    def __init__(
        self,
        package: Path,
        *,
        cached: bool = True,
        before: Callable[[UntrustedError | None], None] = lambda _refused: None,
    ) -> None:
        """With `cached`, compiled programs are kept.

        `before` is called before one is compiled, with the reason why the cache is not used.
        """
        self._package = package
        self._cache = ProgramCache.of_this_kernel(fingerprint(package)) if cached else None
        self._before = before
        self._refused: UntrustedError | None = None

    def preload(self) -> None:
        """Start loading bcc's library, unless programs of this kernel are kept."""
        if self._cache is None or self._cache.is_empty():
            preload()

    def kept(
        self, source: str, defines: Mapping[str, str], functions: Sequence[str]
    ) -> CompiledProgram | None:
        """Return what compiled() would, if it is kept."""
        if self._cache is None:
            return None
        try:
            return self._cache.load(source, defines, functions)
        except UntrustedError as error:
            self._refused = error
            return None

    def compiled(
        self, source: str, defines: Mapping[str, str], functions: Sequence[str]
    ) -> CompiledProgram:
        """Return these functions of a file of bpf/, compiled with these -D.

        Raises PageInspectError.
        """
        self._before(self._refused)
        bcc = load_bcc(self._package)
        return compile_program(bcc, data_folder("bpf") / source, defines, functions)

    def keep(self, source: str, defines: Mapping[str, str], program: CompiledProgram) -> None:
        """Keep a program that this kernel has loaded."""
        if self._cache is not None:
            self._cache.save(source, defines, program)


def compile_program(
    bcc: ModuleType, source: Path, defines: Mapping[str, str], functions: Sequence[str]
) -> CompiledProgram:
    """Compile functions of this source. Raises PageInspectError."""
    flags = [f"-I{source.parent}"]
    flags += [f"-D{name}={value}" for name, value in defines.items()]
    output: list[str] = []
    try:
        # bcc looks for its few headers in include/ of this folder.
        with _environment("BCC_KERNEL_SOURCE", str(source.parent)), _captured() as output:
            program = bcc.BPF(src_file=os.fsencode(source), cflags=flags)
            try:
                code = {name: program.dump_func(name.encode()) for name in functions}
                return of_instructions(code, bpf_calls.map_info)
            finally:
                program.cleanup()
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
