# SPDX-License-Identifier: GPL-2.0-only
"""Keys of the symbol caches: the kernel's build id, and a digest of the data that is parsed.

The build id alone is not enough, because a damaged core has the same one as the intact core. The
data is read once, so that the digest is of the same bytes that are parsed. Reading and digest take
a few percent of the time of parsing.
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import drgn
from drgn import FaultError, FindObjectFlags, Object, Program

from ...model.arch import IMAGE_SIZE, IMAGE_START, KASLR_STEP, PAGE_SIZE
from ..platform import PLATFORM

_LARGEST = 64 << 20
_ALL = (1 << 64) - 1


def kaslr_offset(info: Mapping[str, str]) -> int | None:
    """Return the KASLR offset of the kernel image from VMCOREINFO; None if missing or invalid.

    The kernel moves itself by less than 1 GiB, in multiples of CONFIG_PHYSICAL_ALIGN. Another
    number means that the core is damaged.
    """
    try:
        offset = int(info["KERNELOFFSET"], 16)
    except (KeyError, ValueError):
        return None
    return offset if 0 <= offset < IMAGE_SIZE and offset % KASLR_STEP == 0 else None


def types_key(info: Mapping[str, str], data: bytes) -> str | None:
    """Return the cache key for this BTF; None without a build id."""
    build_id = _build_id(info)
    return build_id and f"{build_id}-types-{_digest(data)}"


def live_symbols_key(info: Mapping[str, str]) -> str | None:
    """Return the cache key for symbols from /proc/kallsyms; None without a build id."""
    build_id = _build_id(info)
    return build_id and f"{build_id}-symbols-live"


@dataclass(frozen=True, slots=True)
class SymbolTables:
    """The kallsyms tables of a kernel, with addresses as without KASLR."""

    start: int
    """Address of `data`."""
    data: bytes
    lines: str
    """The lines of VMCOREINFO that drgn needs to locate and parse the tables."""

    def key(self, info: Mapping[str, str]) -> str | None:
        """Return the cache key: a digest of everything that parsing depends on, or None."""
        build_id = _build_id(info)
        # drgn infers the encoding of long names from the lines, or reads the environment variable.
        form = self.start, self.lines, os.environ.get("DRGN_KALLSYMS_LONG"), drgn.__version__
        return build_id and f"{build_id}-symbols-{_digest(repr(form).encode(), self.data)}"

    def program(self) -> Program:
        """Return a Program whose memory is `data` alone."""
        prog = Program(PLATFORM, vmcoreinfo=self.lines)
        text = self.lines.encode()

        def vmcoreinfo(
            prog: Program, name: str, _flags: FindObjectFlags, _filename: str | None
        ) -> Object | None:
            if name != "VMCOREINFO":
                return None
            char = prog.int_type("char", 1, True)  # noqa: FBT003 - drgn takes it by position alone
            return Object(prog, prog.array_type(char, len(text)), text)

        prog.register_object_finder("VMCOREINFO", vmcoreinfo, enable_index=0)
        view = memoryview(self.data)
        prog.add_memory_segment(
            self.start,
            len(self.data),
            lambda _address, count, offset, _physical: view[offset : offset + count],
        )
        return prog


def read_tables(prog: Program, info: Mapping[str, str]) -> SymbolTables | None:
    """Read the kallsyms tables from memory; None if VMCOREINFO does not locate known tables."""
    offset = kaslr_offset(info)
    if offset is None:
        return None
    try:
        places = {
            key[7:-1]: int(value, 16) - offset
            for key, value in info.items()
            if key.startswith("SYMBOL(kallsyms_") or key == "SYMBOL(_stext)"
        }
        start, data = _read(prog, places, offset)
        lines = {
            "OSRELEASE": info["OSRELEASE"],
            "PAGESIZE": str(PAGE_SIZE),
            "KERNELOFFSET": "0",
            # drgn requires this line, but does not use page tables here.
            "SYMBOL(swapper_pg_dir)": f"{IMAGE_START:x}",
            **{f"SYMBOL({name})": f"{place:x}" for name, place in sorted(places.items())},
        }
    except (FaultError, OSError, KeyError, ValueError, OverflowError, struct.error):
        return None
    return SymbolTables(start, data, "".join(f"{key}={value}\n" for key, value in lines.items()))


def _read(prog: Program, places: dict[str, int], offset: int) -> tuple[int, bytes]:
    """Return the start address of the tables without KASLR, and their bytes.

    Raises KeyError or ValueError if the location is not known.
    """
    tables = {name: place for name, place in places.items() if name != "_stext"}
    if "kallsyms_offsets" not in tables or min(places.values()) < IMAGE_START:
        raise ValueError
    start, last = min(tables.values()), max(tables, key=lambda name: tables[name])
    at = tables["kallsyms_num_syms"] - start
    stop = tables[last]
    # The data up to the last table has the symbol count, which determines the end of that table.
    if stop - start > _LARGEST or at + 4 > stop - start:
        raise ValueError
    data = bytearray(prog.read(start + offset, stop - start))
    (count,) = struct.unpack_from("<I", data, at)
    sizes = {
        "kallsyms_offsets": 4 * count,
        "kallsyms_relative_base": 8,
        "kallsyms_token_index": 512,
    }
    if stop - start + sizes[last] > _LARGEST:
        raise ValueError
    data += prog.read(stop + offset, sizes[last])
    base = tables.get("kallsyms_relative_base")
    if base is not None:
        # This is the only address in the tables that KASLR changes.
        (moved,) = struct.unpack_from("<Q", data, base - start)
        struct.pack_into("<Q", data, base - start, (moved - offset) & _ALL)
    return start, bytes(data)


def _build_id(info: Mapping[str, str]) -> str | None:
    build_id = info.get("BUILD-ID", "")
    return build_id if build_id.isalnum() and build_id.isascii() else None


def _digest(*parts: bytes) -> str:
    from hashlib import blake2b

    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
