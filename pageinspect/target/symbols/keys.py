"""What kept answers are kept by: the build of the kernel, and the very bytes that were parsed.

A damaged core has the build id of the sound one, so that alone will not do. The bytes are read
once: what their digest is of is what is parsed. Both take a few hundredths of what parsing does.
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import drgn
from drgn import FaultError, FindObjectFlags, Object, Program

from ...model.arch import KASLR_STEP, PAGE_SIZE
from ..platform import PLATFORM

_LARGEST = 64 << 20
_ALL = (1 << 64) - 1
_IMAGE = 0xFFFFFFFF80000000
_IMAGE_SIZE = 1 << 30


def kaslr_offset(info: Mapping[str, str]) -> int | None:
    """Return what KASLR added to the addresses of the kernel's image, None when it is not told.

    The kernel moves itself within a GiB, by multiples of CONFIG_PHYSICAL_ALIGN: any other number is
    that of a damaged core.
    """
    try:
        offset = int(info["KERNELOFFSET"], 16)
    except (KeyError, ValueError):
        return None
    return offset if 0 <= offset < _IMAGE_SIZE and offset % KASLR_STEP == 0 else None


def types_key(info: Mapping[str, str], data: bytes) -> str | None:
    """Return the key of what is asked of this BTF, None when nothing is to be kept."""
    build_id = _build_id(info)
    return build_id and f"{build_id}-types-{_digest(data)}"


def live_symbols_key(info: Mapping[str, str]) -> str | None:
    """Return the key of what is asked of this kernel's symbols, which /proc/kallsyms tells."""
    build_id = _build_id(info)
    return build_id and f"{build_id}-symbols-live"


@dataclass(frozen=True, slots=True)
class Tables:
    """The kallsyms tables of a kernel, read once, as they would be without KASLR."""

    start: int
    data: bytes
    lines: str
    """The lines of VMCOREINFO that lead to them, and by which drgn parses them."""

    def key(self, info: Mapping[str, str]) -> str | None:
        """Return the key of what is asked of them: of all that parsing depends on."""
        build_id = _build_id(info)
        # drgn guesses the form of long names from the lines, or takes it from the environment.
        form = self.start, self.lines, os.environ.get("DRGN_KALLSYMS_LONG"), drgn.__version__
        return build_id and f"{build_id}-symbols-{_digest(repr(form).encode(), self.data)}"

    def program(self) -> Program:
        """Return a Program that sees these bytes and nothing else."""
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


def read_tables(prog: Program, info: Mapping[str, str]) -> Tables | None:
    """Read the memory from the first of the kallsyms tables to the end of the last.

    Returns None where VMCOREINFO does not lead to tables of a form that is known here.
    """
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
            # drgn does without page tables here, but not without the line.
            "SYMBOL(swapper_pg_dir)": f"{_IMAGE:x}",
            **{f"SYMBOL({name})": f"{place:x}" for name, place in sorted(places.items())},
        }
    except (FaultError, OSError, KeyError, ValueError, OverflowError, struct.error):
        return None
    return Tables(start, data, "".join(f"{key}={value}\n" for key, value in lines.items()))


def _read(prog: Program, places: dict[str, int], offset: int) -> tuple[int, bytes]:
    """Return where the tables begin, and their bytes.

    Raises KeyError or ValueError when that is not known.
    """
    tables = {name: place for name, place in places.items() if name != "_stext"}
    if "kallsyms_offsets" not in tables or min(places.values()) < _IMAGE:
        raise ValueError
    start, last = min(tables.values()), max(tables, key=lambda name: tables[name])
    at = tables["kallsyms_num_syms"] - start
    stop = tables[last]
    # One reading up to the last table gives the count, by which it gets its end.
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
        # The only address in them that KASLR moves.
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
