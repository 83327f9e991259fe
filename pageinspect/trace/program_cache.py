# SPDX-License-Identifier: GPL-2.0-only
"""Compiled programs in the user's cache folder, so that a later trace starts without a compiler.

The name of a file has a digest of all that a compiled program depends on: this kernel, the texts of
bpf/, bcc, the version of pageinspect, and the options. A file that another user could have written
is not read, and a damaged one is treated as absent.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import PageInspectError
from ..host.files import (
    PRIVATE,
    UntrustedError,
    forget_oldest,
    names_in,
    read_trusted,
    replacing,
    trusted_folder,
)
from ..paths import cache_folder, data_folder
from ..version import __version__
from .compiled import CompiledProgram

FORM = 2
"""Version of the file format; part of the digests."""
MOST_FILES = 64
_SUFFIX = ".json"
_DIGITS = 32
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""Errors of reading a damaged file."""


def programs_folder() -> Path:
    """Return the folder of compiled programs. Raises PageInspectError without a home folder."""
    return cache_folder() / "programs"


def kept_programs() -> int:
    """Return the number of files in that folder.

    Raises PageInspectError: UntrustedError if another user can change the folder.
    """
    try:
        with trusted_folder(programs_folder()) as folder:
            return len(names_in(folder, _SUFFIX))
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise PageInspectError(
            f"{programs_folder()} cannot be read: {error.strerror}",
            "set PAGEINSPECT_CACHE to a folder of your own",
        ) from None


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:_DIGITS]


def _texts(folder: Path) -> Iterable[bytes]:
    for path in sorted(each for each in folder.rglob("*.[ch]") if each.is_file()):
        yield str(path.relative_to(folder)).encode()
        yield path.read_bytes()


@dataclass(frozen=True, slots=True)
class ProgramCache:
    """The compiled programs of this kernel, these sources and this bcc."""

    environment: str
    """Digest of all that programs depend on but their options; file names begin with it."""

    @classmethod
    def of_this_kernel(cls, bcc: bytes, root: Path = Path("/")) -> "ProgramCache | None":
        """Return the cache for a bcc with this fingerprint; None for a kernel without an id.

        `root` is the folder of sys/.
        """
        try:
            # It has the build id.
            notes = (root / "sys/kernel/notes").read_bytes()
        except OSError:
            return None
        kernel = os.uname()
        identity = f"{FORM} {__version__} {kernel.release} {kernel.version}".encode()
        return cls(_digest([identity, notes, bcc, *_texts(data_folder("bpf"))]))

    def is_empty(self) -> bool:
        """Return whether it has no program, or cannot be used."""
        try:
            with trusted_folder(programs_folder()) as folder:
                names = names_in(folder, _SUFFIX)
            return not any(name.startswith(self.environment) for name in names)
        except (OSError, PageInspectError):
            return True

    def load(
        self, source: str, defines: Mapping[str, str], functions: Sequence[str]
    ) -> CompiledProgram | None:
        """Return the functions of a file of bpf/ compiled with these -D, if they are kept.

        Raises UntrustedError if another user can change the folder or the file.
        """
        try:
            path = self._path(source, defines, functions)
            program = CompiledProgram.of_json(json.loads(read_trusted(path)))
            if sorted(program.functions) != sorted(functions):
                return None
            # So that programs in use are not the oldest.
            with contextlib.suppress(OSError), trusted_folder(path.parent) as folder:
                os.utime(path.name, dir_fd=folder, follow_symlinks=False)
        except UntrustedError:
            raise
        except (OSError, PageInspectError, *_DAMAGED):
            return None
        return program

    def save(self, source: str, defines: Mapping[str, str], program: CompiledProgram) -> None:
        """Keep a compiled program. Best effort: errors are ignored."""
        with contextlib.suppress(OSError, PageInspectError):
            path = self._path(source, defines, list(program.functions))
            content = json.dumps(program.to_json()).encode("ascii")
            with trusted_folder(path.parent, make=True, mode=0o700) as folder:
                with replacing(folder, path.name, mode=PRIVATE) as file:
                    file.write(content)
                forget_oldest(folder, names_in(folder, _SUFFIX), MOST_FILES)

    def _path(self, source: str, defines: Mapping[str, str], functions: Sequence[str]) -> Path:
        form = json.dumps([source, sorted(defines.items()), sorted(functions)])
        return programs_folder() / f"{self.environment}-{_digest([form.encode()])}{_SUFFIX}"
