# SPDX-License-Identifier: GPL-2.0-only
"""Sizes of stack frames of the allocator's functions, from which programs find their caller.

The kernel's unwinder takes microseconds for a stack. The frames between the tracepoint and the
caller are of a few functions, and the kernel's ORC tables say how large each of them is at each
instruction. So bpf/page_caller.h steps over them alone, and leaves to the unwinder what these
tables do not describe.
"""

import bisect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

KALLSYMS = Path("/proc/kallsyms")

BLOCK_BYTES = 1 << 10
"""Bytes of code that one table is about."""
OUTSIDE, UNKNOWN = 0, 255
"""In place of a size: the function is not in the path; the size is not known."""
_WORD = 8

_ORC = np.dtype([("sp_offset", np.int16), ("bp_offset", np.int16), ("registers", np.uint16)])
"""struct orc_entry."""
_ORC_REGISTER = 0xF
"""Of `registers`: what `sp_offset` is counted from."""

_PATH_BITS = 32
"""Bits of the number of a table in a block, which has one for each path."""
_REPLACED = frozenset({"return_to_handler", "arch_rethook_trampoline", "__kretprobe_trampoline"})
"""Where functions return to that are traced: only the unwinder knows what these replaced."""

_FUNCTION = re.compile(r"^([0-9a-f]+) [tTwW] ([^\s.]+)[^\s]*$", re.MULTILINE)
"""Address and name of a function of the image, without the compiler's suffixes."""

_TRACING = ("bpf_trace", "traceiter")
"""Kinds of the functions of a tracepoint."""

Ranges = Sequence[tuple[int, int]]


class CallPath(NamedTuple):
    """Functions from a caller to a tracepoint."""

    functions: frozenset[str]
    tracepoint: str

    @property
    def names(self) -> frozenset[str]:
        """Names of the functions, and of those between the tracepoint and the program."""
        return self.functions | {f"__{kind}_{self.tracepoint}" for kind in _TRACING}


@dataclass(frozen=True, slots=True, eq=False)
class FrameSizes:
    """The size of the frame at each byte of code of the functions of one path or of two."""

    text: int
    """The address of the kernel's code."""
    blocks: npt.NDArray[np.uint64]
    """For each BLOCK_BYTES of code, the number of its table, that of the second path above so many
    bits as _PATH_BITS; table 0 is of all others."""
    tables: npt.NDArray[np.uint8]
    """(tables, BLOCK_BYTES): words of the frame, OUTSIDE or UNKNOWN."""

    def beside(self, second: "FrameSizes") -> "FrameSizes":
        """Return these sizes with those of a second path in the same code."""
        used = second.blocks != 0
        more = np.where(used, second.blocks + np.uint64(len(self.tables)), 0) << _PATH_BITS
        tables = np.concatenate((self.tables, second.tables))
        return FrameSizes(self.text, self.blocks | more.astype(np.uint64), tables)

    def defines(self) -> dict[str, str]:
        """Return the -D of bpf/page_caller.h."""
        return {"TEXT_BLOCKS": str(len(self.blocks)), "FRAME_TABLES": str(len(self.tables))}


def stack_pointer(entries: npt.NDArray[Any]) -> int:
    """Return the number of the stack pointer in ORC entries: it differs from kernel to kernel.

    Each function begins with the return address at the stack pointer, 8 bytes long.
    """
    begins = entries["registers"][entries["sp_offset"] == _WORD] & _ORC_REGISTER
    return int(np.bincount(begins, minlength=1).argmax())


def words_of(
    ips: npt.NDArray[np.int64], entries: npt.NDArray[Any], pointer: int, start: int, end: int
) -> npt.NDArray[np.uint8]:
    """Return the words of the frame at each address from start to end.

    `ips` are the addresses from which each of the ORC `entries` holds, in order; `pointer` is the
    number of the stack pointer in them.
    """
    first = max(int(np.searchsorted(ips, start, "right")) - 1, 0)
    last = int(np.searchsorted(ips, end, "left"))
    some = entries[first:last]
    sizes = some["sp_offset"].astype(np.int64)
    known = some["registers"] & _ORC_REGISTER == pointer
    known &= (sizes > 0) & (sizes < UNKNOWN * _WORD) & (sizes % _WORD == 0)
    words = np.where(known, sizes // _WORD, UNKNOWN).astype(np.uint8)
    borders = np.clip(np.append(ips[first:last], end), start, end)
    found = np.repeat(words, np.diff(borders))
    # Nothing is known of what is before the first entry.
    return np.concatenate((np.full(end - start - len(found), UNKNOWN, np.uint8), found))


def frame_sizes(
    text: tuple[int, int],
    path: Ranges,
    unknown: Ranges,
    ips: npt.NDArray[np.int64],
    entries: npt.NDArray[Any],
) -> FrameSizes:
    """Return the sizes for functions of `path`, each the offsets of start and end in `text`.

    Frames of the functions `unknown` are left to the unwinder.
    """
    start, size = text[0], text[1] - text[0]
    pointer = stack_pointer(entries)
    code = {where: words_of(ips, entries, pointer, *where) for where in path}
    code |= {where: np.full(where[1] - where[0], UNKNOWN, np.uint8) for where in unknown}
    blocks = np.zeros(-(-size // BLOCK_BYTES), np.uint64)
    tables = [np.zeros(BLOCK_BYTES, np.uint8)]
    for (first, end), words in code.items():
        at = first
        while at < end:
            block, offset = divmod(at, BLOCK_BYTES)
            length = min(BLOCK_BYTES - offset, end - at)
            if not blocks[block]:
                blocks[block] = len(tables)
                tables.append(np.zeros(BLOCK_BYTES, np.uint8))
            table = tables[int(blocks[block])]
            table[offset : offset + length] = words[at - first : at - first + length]
            at += length
    return FrameSizes(start, blocks, np.stack(tables))


def functions_of(
    kallsyms: str, text: tuple[int, int], names: Callable[[str], bool]
) -> list[tuple[str, int, int]]:
    """Return the functions of the image with such names: name, start and end.

    A function ends where the next one begins. Parts that the compiler moved elsewhere are
    functions of the same name.
    """
    start, stop = text
    found = [(int(address, 16), name) for address, name in _FUNCTION.findall(kallsyms)]
    found = [each for each in found if start <= each[0] < stop]
    starts = sorted({address for address, _ in found})
    starts.append(stop)
    return [
        (name, address, starts[bisect.bisect_right(starts, address)])
        for address, name in found
        if names(name)
    ]


def read_frame_sizes(
    prog: Program, paths: Sequence[CallPath], hooked: Iterable[str], kallsyms: Path = KALLSYMS
) -> FrameSizes | None:
    """Return the sizes for functions of one path or of two; None without ORC tables.

    Functions that are `hooked` return to a trampoline, so their frames are left to the unwinder.
    """
    try:
        text = prog.symbol("_stext").address, prog.symbol("_etext").address
        first, last = (prog.symbol(f"__{end}_orc_unwind_ip").address for end in ("start", "stop"))
        entries_at = prog.symbol("__start_orc_unwind").address
        offsets = np.frombuffer(prog.read(first, last - first), np.int32)
        entries = np.frombuffer(prog.read(entries_at, len(offsets) * _ORC.itemsize), _ORC)
    except (LookupError, FaultError, ValueError):
        return None
    # Each is relative to its own address. Addresses are less than 2^63 from that of the text.
    ips = offsets + (np.arange(len(offsets)) * offsets.itemsize + (first - text[0]))
    base = text[0]
    unknown = _REPLACED | frozenset(hooked)
    wanted = unknown.union(*(path.names for path in paths))
    found = functions_of(kallsyms.read_text("ascii", "replace"), text, wanted.__contains__)
    code = [(name, (start - base, end - base)) for name, start, end in found]
    left = [where for name, where in code if name in unknown]
    of_paths = [
        frame_sizes(
            (base, text[1]),
            [where for name, where in code if name in path.names - unknown],
            left,
            ips,
            entries,
        )
        for path in paths
    ]
    return reduce(FrameSizes.beside, of_paths)
