"""What kept answers are kept by: the build of the kernel, and the very bytes that were parsed.

A damaged core has the build id of the sound one, so that alone will not do. Reading the bytes and
their digest take a few hundredths of what parsing them does.
"""

import os
import struct
from collections.abc import Mapping

import drgn
from drgn import FaultError, Program

_LARGEST = 64 << 20
_ALL = (1 << 64) - 1


def kaslr_offset(info: Mapping[str, str]) -> int | None:
    """Return what KASLR added to the addresses of the kernel's image, None when it is not told."""
    try:
        return int(info["KERNELOFFSET"], 16)
    except (KeyError, ValueError):
        return None


def types_key(info: Mapping[str, str], data: bytes) -> str | None:
    """Return the key of what is asked of this BTF, None when nothing is to be kept."""
    build_id = _build_id(info)
    return build_id and f"{build_id}-types-{_digest(data)}"


def symbols_key(prog: Program, info: Mapping[str, str], *, live: bool) -> str | None:
    """Return the key of what is asked of the kernel's symbols, None when nothing is to be kept.

    This kernel is taken at its word. Of another's memory the key is of all that tells symbols: the
    tables and where VMCOREINFO has them, as they would be without KASLR.
    """
    build_id, offset = _build_id(info), kaslr_offset(info)
    if build_id is None or offset is None:
        return None
    if live:
        return f"{build_id}-symbols-live"
    try:
        places = {
            key[7:-1]: int(value, 16)
            for key, value in info.items()
            if key.startswith("SYMBOL(kallsyms_") or key == "SYMBOL(_stext)"
        }
        tables = _read_tables(prog, places, offset)
    except (FaultError, OSError, KeyError, ValueError, OverflowError, struct.error):
        return None
    told = {name: place - offset for name, place in sorted(places.items())}
    # drgn guesses the form of long names from these.
    form = info.get("OSRELEASE"), os.environ.get("DRGN_KALLSYMS_LONG"), drgn.__version__
    return f"{build_id}-symbols-{_digest(repr((told, form)).encode(), *tables)}"


def _build_id(info: Mapping[str, str]) -> str | None:
    build_id = info.get("BUILD-ID", "")
    return build_id if build_id.isalnum() and build_id.isascii() else None


def _digest(*parts: bytes | memoryview) -> str:
    from hashlib import blake2b

    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _read_tables(
    prog: Program, places: dict[str, int], offset: int
) -> tuple[bytes | memoryview, ...]:
    """Return the memory from the first of the tables to the end of the last, in parts.

    Raises KeyError or ValueError when that is not known.
    """
    (count,) = struct.unpack("<I", prog.read(places["kallsyms_num_syms"], 4))
    sizes = {
        "kallsyms_num_syms": 4,
        "kallsyms_offsets": 4 * count,
        "kallsyms_relative_base": 8,
        "kallsyms_token_index": 512,
    }
    tables = {name: place for name, place in places.items() if name != "_stext"}
    last = max(tables, key=lambda name: tables[name])
    start, stop = min(tables.values()), tables[last] + sizes[last]
    if "kallsyms_offsets" not in tables or stop - start > _LARGEST:
        raise ValueError
    data = memoryview(prog.read(start, stop - start))
    base = tables.get("kallsyms_relative_base")
    if base is None:
        return (data,)
    # The only address in them that KASLR moves.
    at = base - start
    (moved,) = struct.unpack_from("<Q", data, at)
    return data[:at], struct.pack("<Q", (moved - offset) & _ALL), data[at + 8 :]
