# SPDX-License-Identifier: GPL-2.0-only
"""Schemes: how a kernel encodes page types in the page_type word.

The word overlays `_mapcount`. In every scheme, -1 means no type and not mapped. Since Linux kernel
commit 6e292b9be7f4 ("mm: split page_type out from _mapcount") (in v4.18), a type is a cleared bit
of a word whose other bits are set. Since Linux kernel commit 4ffca5a96678 ("mm: support only one
page_type per page") (in v6.12), it is the value of the top byte.

Both are decoded alike: `slot = ((word ^ invert) >> shift) & 0xff` if `word & base == base`.
MemdescScheme is for kernels that will have the type in the low bits of a pointer, the memdesc.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

Source = Literal["enum", "vmcoreinfo", "facts"]

SLOTS = 256


class Reading:
    """The kinds of values of a page_type word."""

    # Plain ints, as in Code: numpy operations on IntEnum members are slow.
    TYPE: Final = 0
    MAPCOUNT: Final = 1
    RESET: Final = 2
    UNDERFLOW: Final = 3
    OVERFLOW: Final = 4


READINGS = ("type", "mapcount", "reset", "underflow", "overflow")
"""The names of the kinds, by number."""


@dataclass(frozen=True, slots=True)
class PageType:
    """One page type: name, slot, value as in the kernel, and the source of the value."""

    name: str
    slot: int
    value: int
    source: Source


class Scheme(Protocol):
    """The interface of an encoding of page types.

    `words` are (n,) arrays as word() returns them, of an unsigned dtype that the scheme chooses.
    """

    @property
    def name(self) -> str:
        """The name of the scheme in reports."""

    @property
    def types(self) -> tuple[PageType, ...]:
        """The known types."""

    @property
    def word_name(self) -> str:
        """The kernel's name of the word."""

    @property
    def word_bits(self) -> int:
        """The size of the word in bits: 32 or 64."""

    @property
    def has_mapcount(self) -> bool:
        """Whether the word of an untyped page is its mapcount."""

    @property
    def history(self) -> str:
        """A sentence about the word, with the kernel commit that introduced it."""

    @property
    def one_of(self) -> bool:
        """Whether a page has at most one type; otherwise it may have several."""

    def word(self, words: npt.NDArray[np.uint64], offset: int) -> Any:
        """Return the scheme's words from the 64-bit words that contain byte `offset`, (n,)."""

    def reduced(self, words: Any) -> Any:
        """Return words without the bits that no other method reads; equal ones decode alike."""

    def reduced_from(self) -> tuple[int, bool]:
        """Return the mask of the bits that reduced() reads, and whether it tests a word for 0."""

    def hex(self, word: int) -> str:
        """Return a word as text."""

    def array(self, word: int) -> Any:
        """Return one word as an array, (1,)."""

    def typed(self, words: Any) -> npt.NDArray[np.bool_]:
        """Return which words have a type by the kernel's own test, (n,)."""

    def slots(self, words: Any) -> npt.NDArray[np.uint8]:
        """Return the type slot of each word, (n,); only valid for words that are `typed`."""

    def readings(self, words: Any) -> npt.NDArray[np.uint8]:
        """Return the `Reading` of each word, (n,)."""

    def low_bits(self, words: Any) -> npt.NDArray[np.uint32]:
        """Return the bits of typed words that the owner of the type may use, (n,)."""

    def slot_name(self, slot: int) -> str:
        """Return the name of a type slot."""

    def slot_value(self, slot: int) -> str:
        """Return the value of a slot as in the kernel."""

    def find(self, name: str) -> PageType | None:
        """Return the type of this name, or None."""

    def find_slot(self, name: str) -> int:
        """Return the slot of the type of this name, or -1."""


class _Types:
    """Methods that all schemes share."""

    __slots__ = ()
    types: tuple[PageType, ...]
    word_bits: ClassVar[int]

    def hex(self, word: int) -> str:
        """Return a word as text."""
        return f"{word:#0{2 + self.word_bits // 4}x}"

    def array(self, word: int) -> Any:
        """Return one word as an array of one."""
        return np.array([word], np.uint32 if self.word_bits == 32 else np.uint64)

    def find(self, name: str) -> PageType | None:
        """Return the type of this name, or None."""
        return next((t for t in self.types if t.name == name), None)

    def find_slot(self, name: str) -> int:
        """Return the slot of the type of this name, or -1."""
        page_type = self.find(name)
        return -1 if page_type is None else page_type.slot


@dataclass(frozen=True, slots=True)
class WordScheme(_Types):
    """A type in the 32-bit page_type word, v4.18 and later.

    The kernel's page_has_type() is (int)(word - typed_bias) < typed_below.
    """

    name: str
    one_of: bool
    """Whether a page has at most one type (byte scheme) or may have several (bit schemes)."""
    invert: int
    shift: int
    base: int
    typed_below: int
    typed_bias: int
    types: tuple[PageType, ...]
    word_name: ClassVar[str] = "page_type"
    word_bits: ClassVar[int] = 32
    has_mapcount: ClassVar[bool] = True
    history: ClassVar[str] = (
        'The word overlays _mapcount: Linux kernel commit 6e292b9be7f4 ("mm: split page_type out '
        'from _mapcount") (in v4.18).'
    )

    def reduced(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Return the words unchanged: all bits are read."""
        return words

    def reduced_from(self) -> tuple[int, bool]:
        """Return the mask of all bits."""
        return 0xFFFFFFFF, False

    def word(self, words: npt.NDArray[np.uint64], offset: int) -> npt.NDArray[np.uint32]:
        """Return the page_type words, (n,) uint32."""
        return (words >> np.uint64(8 * (offset % 8))).astype(np.uint32)

    def typed(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        """Return which page_type words have a type by the kernel's page_has_type(), (n,)."""
        biased = (words - np.uint32(self.typed_bias)) if self.typed_bias else words
        return biased.view(np.int32) < self.typed_below

    def slots(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
        """Return the type slot of each word, (n,); only valid for words that are `typed`."""
        slots = ((words ^ np.uint32(self.invert)) >> np.uint32(self.shift)).astype(np.uint8)
        if self.base:
            base = np.uint32(self.base)
            slots[(words & base) != base] = 0
        return slots

    def readings(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
        """Return the `Reading` of each word, (n,)."""
        signed = words.view(np.int32)
        readings = np.full(len(words), Reading.OVERFLOW, np.uint8)
        readings[signed >= 0] = Reading.MAPCOUNT
        readings[(signed < 0) & (signed >= self._reserve)] = Reading.UNDERFLOW
        readings[words == np.uint32(0xFFFFFFFF)] = Reading.RESET
        types = (signed < self._reserve) & self._names_a_type[self.slots(words)]
        readings[types] = Reading.TYPE
        return readings

    @property
    def _reserve(self) -> int:
        # Without typed_bias: the top byte 0xff is not a type, even if page_has_type() accepts it.
        return self.typed_below

    @property
    def _names_a_type(self) -> npt.NDArray[np.bool_]:
        slots = np.arange(SLOTS)
        return slots >= 0xF0 if self.one_of else slots > 0

    def low_bits(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Return the bits below the type, (n,); 0 in bit schemes."""
        below = np.uint32((1 << self.shift) - 1)
        return (words & below) if self.one_of else np.zeros_like(words)

    def slot_name(self, slot: int) -> str:
        """Return the name of a type slot: `zsmalloc`, `table+kmemcg`, `type_0xf9`, `overflow`."""
        if self.one_of:
            for page_type in self.types:
                if page_type.slot == slot:
                    return page_type.name
            if slot == 0xFF:
                return "underflow"
            return f"type_{slot:#x}" if slot >= 0xF0 else "overflow"
        if slot == 0:
            return "overflow"
        names = [page_type.name for page_type in self.types if page_type.slot & slot]
        rest = slot & ~sum(page_type.slot for page_type in self.types)
        if rest:
            names.append(f"type_{rest << self.shift:#x}")
        return "+".join(names)

    def slot_value(self, slot: int) -> str:
        """Return the value of a slot as in the kernel: the top byte, or the bits of the types."""
        return f"{slot:#x}" if self.one_of else f"{slot << self.shift:#x}"


@dataclass(frozen=True, slots=True)
class MemdescScheme(_Types):
    """A type in the low bits of the memdesc, a 64-bit pointer to the page's descriptor.

    No kernel has it yet: layout/from_types.py lists the assumptions. Mapcounts are in the
    descriptor, so that a valid word has a type or is 0.
    """

    types: tuple[PageType, ...]
    type_bits: int = 4
    name: str = "memdesc"
    one_of: bool = True
    word_name: ClassVar[str] = "memdesc"
    word_bits: ClassVar[int] = 64
    has_mapcount: ClassVar[bool] = False
    history: ClassVar[str] = (
        "The low bits of the memdesc are the type; the others point to the descriptor of the page."
    )

    def reduced(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Return the type bits; a pointer without a type becomes mask + 1, and 0 stays 0."""
        low = words & np.uint64(self._mask)
        return np.where((low == 0) & (words != 0), np.uint64(self._mask + 1), low)

    def reduced_from(self) -> tuple[int, bool]:
        """Return the mask of the type bits; a word without a type is tested for 0."""
        return self._mask, True

    @property
    def _mask(self) -> int:
        return (1 << self.type_bits) - 1

    def word(self, words: npt.NDArray[np.uint64], _offset: int) -> npt.NDArray[np.uint64]:
        """Return the memdescs, (n,) uint64."""
        return words

    def typed(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Return which memdescs have a type, (n,)."""
        return self.slots(words) != 0

    def slots(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
        """Return the low bits, (n,)."""
        return (words & np.uint64(self._mask)).astype(np.uint8)

    def readings(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
        """Return the `Reading` of each memdesc, (n,): OVERFLOW for a pointer without a type."""
        readings = np.full(len(words), Reading.OVERFLOW, np.uint8)
        readings[words == 0] = Reading.RESET
        readings[self.typed(words)] = Reading.TYPE
        return readings

    def low_bits(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
        """Return zeros, (n,): the owner has no bits of its own."""
        return np.zeros(len(words), np.uint32)

    def slot_name(self, slot: int) -> str:
        """Return the name of a type slot."""
        named = (page_type.name for page_type in self.types if page_type.slot == slot)
        return next(named, f"type_{slot:#x}")

    def slot_value(self, slot: int) -> str:
        """Return the value of the low bits."""
        return f"{slot:#x}"


def memdesc_scheme(values: Mapping[str, int]) -> MemdescScheme:
    """Return the scheme of types in the low bits of the memdesc; `values` maps names to types."""
    return MemdescScheme(tuple(PageType(name, v, v, "enum") for name, v in values.items()))


def byte_scheme(
    values: Mapping[str, int], *, off_by_one: bool, source: Source = "enum"
) -> WordScheme:
    """Return the scheme with the type in the top byte, v6.12 and later.

    `values` maps type names to top bytes, as in the kernel.
    """
    return WordScheme(
        "byte",
        one_of=True,
        invert=0,
        shift=24,
        base=0,
        typed_below=-(1 << 24),
        typed_bias=int(off_by_one),
        types=tuple(PageType(name, value, value, source) for name, value in values.items()),
    )


def _bit_scheme(
    name: str, base: int, below: int, shift: int, bits: Mapping[str, int], source: Source
) -> WordScheme:
    """Return a scheme of negative-logic bits, v4.18 to v6.11: a type is set by clearing its bit."""
    return WordScheme(
        name,
        one_of=False,
        invert=0xFFFFFFFF,
        shift=shift,
        base=base,
        typed_below=below,
        typed_bias=0,
        types=tuple(PageType(n, bit >> shift, bit, source) for n, bit in bits.items()),
    )


def low_scheme(name: str, bits: Mapping[str, int], source: Source = "facts") -> WordScheme:
    """Return the scheme of v4.18 to v6.10: bits from 0x80 up."""
    return _bit_scheme(name, 0xF0000000, -128, 7, bits, source)


def high_scheme(bits: Mapping[str, int], source: Source) -> WordScheme:
    """Return the scheme of v6.11: bits at the top. The owner of a type may use the low 16 bits."""
    return _bit_scheme("bits-6.11", 0x80000000, -0x10000, 24, bits, source)


# Up to v6.9 the bits are macros, which are neither in DWARF nor in BTF.
BITS_4_18 = {"buddy": 0x80, "balloon": 0x100, "kmemcg": 0x200, "table": 0x400}
# Since Linux kernel commit ca215086b14b ("mm: convert PG_balloon to PG_offline") (in v5.1), balloon
# is offline.
BITS_5_1 = {"buddy": 0x80, "offline": 0x100, "kmemcg": 0x200, "table": 0x400, "guard": 0x800}
# Since Linux kernel commit 18b2db3b0385 ("mm: Convert page kmemcg type to a page memcg flag")
# (in v5.11), kmemcg is gone, and the types after it moved down by one bit.
BITS_5_11 = {"buddy": 0x80, "offline": 0x100, "table": 0x200, "guard": 0x400}
# Since Linux kernel commit d99e3140a4d3 ("mm: turn folio_test_hugetlb into a PageType") (in v6.9,
# and in stable releases of v6.6 and v6.8), hugetlb is a page type.
BITS_6_9 = BITS_5_11 | {"hugetlb": 0x800}
# The bit of buddy in v6.11.
HIGH_BUDDY = 0x40000000
