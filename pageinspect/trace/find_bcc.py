# SPDX-License-Identifier: GPL-2.0-only
"""Finds and loads bcc, which comes from the distribution, not from the Python package index.

The index has an unrelated package named bcc, so the name alone does not identify it. The
distribution's bcc is pure Python over ctypes, so any Python can load it by its path. Its folder is
not added to sys.path, because it may hold another numpy.
"""

import contextlib
import ctypes
import importlib.util
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from ..errors import PageInspectError

# Loaded under a private name: the program may have imported the other bcc as `bcc`.
_MODULE = "_pageinspect_bcc"

# Debian and Ubuntu; Fedora, Arch and SUSE; built from source.
_FOLDERS = (
    "usr/lib/python3/dist-packages",
    "usr/lib/python3*/site-packages",
    "usr/lib64/python3*/site-packages",
    "usr/local/lib/python3*/dist-packages",
    "usr/local/lib/python3*/site-packages",
)

_LIBRARIES = (
    "usr/lib/*-linux-gnu/libbcc.so.0",
    "usr/lib*/libbcc.so.0",
    "usr/local/lib*/libbcc.so.0",
)

_INSTALL = {
    "debian": "apt install python3-bpfcc",
    "fedora": "dnf install python3-bcc",
    "arch": "pacman -S python-bcc",
    "suse": "zypper install python3-bcc",
}


def is_bcc(package: Path) -> bool:
    """Return whether this package folder is the BPF Compiler Collection's, not its namesake."""
    return (package / "__init__.py").is_file() and (package / "libbcc.py").is_file()


def _packages(root: Path) -> Iterable[Path]:
    for pattern in _FOLDERS:
        # The newest Python first: shorter paths sort first, because as text 3.9 is above 3.13.
        yield from sorted(
            root.glob(f"{pattern}/bcc"), key=lambda path: (len(str(path)), path), reverse=True
        )


def _imported() -> Path | None:
    """Return the folder of what `import bcc` would load, if anything."""
    spec = importlib.util.find_spec("bcc")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def install_hint(os_release: str) -> str:
    """Return how to install bcc, for the text of /etc/os-release."""
    lines = (line.partition("=") for line in os_release.splitlines())
    fields = {name: value.strip("\"'") for name, _, value in lines}
    family = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}"
    for name, command in _INSTALL.items():
        if name in family:
            return f"as root: {command}"
    return "as root: " + ", or ".join(
        f"{command} ({name.capitalize()})" for name, command in _INSTALL.items()
    )


def _os_release(root: Path) -> str:
    try:
        return (root / "etc/os-release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def find_bcc(root: Path = Path("/"), imported: Callable[[], Path | None] = _imported) -> Path:
    """Return the folder of the distribution's bcc package.

    `root` is the distribution's root folder; `imported` returns what `import bcc` would load.
    Raises PageInspectError with the package to install.
    """
    own = imported()
    if own is not None and is_bcc(own):
        return own
    for package in _packages(root):
        if is_bcc(package):
            return package
    namesake = f" ({own} is another package of that name)" if own is not None else ""
    raise PageInspectError(
        f"tracing needs bcc, which is not installed{namesake}", install_hint(_os_release(root))
    )


def fingerprint(package: Path, root: Path = Path("/")) -> bytes:
    """Return bytes that change when this bcc package or its library does, without loading them.

    `root` is the distribution's root folder.
    """
    libraries = [path for pattern in _LIBRARIES for path in root.glob(pattern)]
    files = sorted({path.resolve() for path in (*package.glob("*.py"), *libraries)})
    found = ((path, path.stat()) for path in files)
    return repr([(str(path), at.st_size, at.st_mtime_ns) for path, at in found]).encode()


def preload() -> None:
    """Start loading bcc's C library in a thread: it contains LLVM, which takes a while.

    Errors are ignored here; load_bcc() reports them.
    """

    def load() -> None:
        with contextlib.suppress(OSError):
            ctypes.CDLL("libbcc.so.0")

    threading.Thread(target=load, name="preload bcc", daemon=True).start()


def load_bcc(package: Path) -> ModuleType:
    """Import the bcc package in this folder.

    Raises PageInspectError when it, or the C library that it loads, does not work.
    """
    loaded = sys.modules.get(_MODULE)
    if loaded is not None:
        return loaded
    spec = importlib.util.spec_from_file_location(
        _MODULE, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise AssertionError(package)
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    keep_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        # Older releases have invalid escape sequences, which a newer Python warns about.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spec.loader.exec_module(module)
    except (ImportError, OSError, SyntaxError, AttributeError) as error:
        del sys.modules[_MODULE]
        raise PageInspectError(
            f"bcc in {package} cannot be loaded: {error}",
            f"reinstall it; {install_hint(_os_release(Path('/')))}",
        ) from None
    finally:
        sys.dont_write_bytecode = keep_bytecode
    return module
