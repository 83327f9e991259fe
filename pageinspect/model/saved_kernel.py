# SPDX-License-Identifier: GPL-2.0-only
"""What a snapshot has of its kernel, as JSON: names and numbers that reports need, no addresses.

Fields may be added with a default, and never renamed or removed.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from .memory_map import Zone
from .page_types import MemdescScheme, PageType, Scheme, Source, WordScheme
from .provenance import GuestState, Provenance, Symbols
from .ranges import Range

T = TypeVar("T")

_WORD_NUMBERS = ("invert", "shift", "base", "typed_below", "typed_bias")


@dataclass(frozen=True, slots=True)
class SavedProcesses:
    """What the report of processes has in addition to its rows."""

    spanned: int
    """Pages of the memory sections that page tables map."""
    unreadable: int
    """Those of them whose struct page could not be read."""
    missing: tuple[str, ...]
    without_memory: int
    """Kernel threads, and processes that have exited, which have no address space."""
    ended: int
    """Processes of a running kernel that ended while they were read, and are left out."""


@dataclass(frozen=True, slots=True)
class SavedKernel:
    """What reports need of a kernel, other than the tables of a snapshot.

    The pfns with struct pages are those of the table `runs`.
    """

    provenance: Provenance
    page_shift: int
    scheme: Scheme
    """How page types are encoded, with the name, slot, value and source of each."""
    markers: Mapping[str, str]
    """The kind, "flag" or "dtor", of marks of pages for which this kernel has no page type."""
    flags: tuple[tuple[str, int], ...]
    """Name and bit number of each page flag."""
    frozen: tuple[str, ...] | None
    """Types whose pages have no references while they are in use; None if unavailable."""
    resets: bool | None
    """Whether free_pages_prepare() resets a type that is still set; None if unavailable."""
    unavailable: tuple[str, ...]
    """Types, uses and columns that are unavailable from VMCOREINFO alone."""
    zone_mask: int
    """The largest number of a zone that page flags can have."""
    node_mask: int
    """The same of a node."""
    zones: tuple[Zone, ...]
    zone_names: tuple[str, ...]
    """Names of all zones by number, including empty ones."""
    devices: tuple[Range, ...]
    """pfns of ZONE_DEVICE."""
    pageblock_order: int | None
    """None if the kernel's pageblock flags could not be read."""
    migratetypes: tuple[str, ...]
    """Names of migratetypes by number."""
    missing: Mapping[str, tuple[str, ...]]
    """Sentences on what is missing, by report: owners, cgroups (more, by cgroup), contiguity."""
    overlaps: tuple[tuple[str, str, int], ...]
    """Pages that kinds of owners share: kind, other kind that claims them, pages."""
    processes: SavedProcesses | None
    """None without the table `processes`."""
    memory_block_pages: int | None = None
    """Pages of a memory block; None if the size is not known, as of snapshots that lack it."""

    def to_json(self) -> str:
        """Return the JSON text."""
        provenance, processes = self.provenance, self.processes
        guest = provenance.guest
        fields = {
            "release": provenance.release,
            "source": provenance.source,
            "symbols": provenance.symbols,
            "because": provenance.because,
            "notes": provenance.notes,
            "guest": None if guest is None else {"paused": guest.paused, "denied": guest.denied},
            "is_whole": provenance.is_whole,
            "page_shift": self.page_shift,
            "scheme": _scheme_json(self.scheme),
            "markers": dict(self.markers),
            "flags": self.flags,
            "frozen": self.frozen,
            "resets": self.resets,
            "unavailable": self.unavailable,
            "zone_mask": self.zone_mask,
            "node_mask": self.node_mask,
            "zones": [(z.node, z.name, z.start, z.end, z.number) for z in self.zones],
            "zone_names": self.zone_names,
            "devices": self.devices,
            "pageblock_order": self.pageblock_order,
            "migratetypes": self.migratetypes,
            "missing": dict(self.missing),
            "overlaps": self.overlaps,
            "processes": None
            if processes is None
            else {name: getattr(processes, name) for name in SavedProcesses.__slots__},
            "memory_block_pages": self.memory_block_pages,
        }
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "SavedKernel":
        """Return what to_json() was called on; raises ValueError for other texts."""
        try:
            return cls._from(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not the kernel of a snapshot: {error!r}") from None

    @classmethod
    def _from(cls, fields: Any) -> "SavedKernel":
        return cls(
            _provenance(fields),
            _number(fields["page_shift"], most=30),
            _scheme(fields["scheme"]),
            {_text(name): _text(kind) for name, kind in fields["markers"].items()},
            tuple((_text(name), _number(bit)) for name, bit in fields["flags"]),
            _or_none(fields["frozen"], _texts),
            _or_none(fields["resets"], _truth),
            _texts(fields["unavailable"]),
            _number(fields["zone_mask"]),
            _number(fields["node_mask"]),
            tuple(
                Zone(_number(node), _text(name), _number(start), _number(end), _number(number))
                for node, name, start, end, number in fields["zones"]
            ),
            _texts(fields["zone_names"]),
            tuple((_number(start), _number(end)) for start, end in fields["devices"]),
            _or_none(fields["pageblock_order"], lambda order: _number(order, most=30)),
            _texts(fields["migratetypes"]),
            {_text(report): _texts(what) for report, what in fields["missing"].items()},
            tuple(
                (_text(kind), _text(other), _number(pages))
                for kind, other, pages in fields["overlaps"]
            ),
            _or_none(fields["processes"], _processes),
            _or_none(fields.get("memory_block_pages"), _number),
        )


def _scheme_json(scheme: Scheme) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": scheme.name,
        "types": [(t.name, t.slot, t.value, t.source) for t in scheme.types],
    }
    if isinstance(scheme, MemdescScheme):
        return {**fields, "type_bits": scheme.type_bits}
    numbers = {name: getattr(scheme, name) for name in _WORD_NUMBERS}
    return {**fields, "one_of": scheme.one_of, **numbers}


def _scheme(fields: Any) -> Scheme:
    name = _text(fields["name"])
    types = tuple(
        PageType(_text(type_), _number(slot), _number(value), _one_of(source, Source))
        for type_, slot, value, source in fields["types"]
    )
    if "type_bits" in fields:
        return MemdescScheme(types, _number(fields["type_bits"], most=8), name)
    numbers = {key: _number(fields[key], least=-(1 << 32)) for key in _WORD_NUMBERS}
    return WordScheme(name, one_of=_truth(fields["one_of"]), types=types, **numbers)


def _provenance(fields: Any) -> Provenance:
    return Provenance(
        _text(fields["release"]),
        _one_of(fields["source"], Provenance.__annotations__["source"]),
        _one_of(fields["symbols"], Symbols),
        _text(fields["because"]),
        _texts(fields["notes"]),
        _or_none(fields["guest"], lambda g: GuestState(_truth(g["paused"]), _text(g["denied"]))),
        _truth(fields["is_whole"]),
    )


def _processes(fields: Any) -> SavedProcesses:
    return SavedProcesses(
        _number(fields["spanned"]),
        _number(fields["unreadable"]),
        _texts(fields["missing"]),
        _number(fields["without_memory"]),
        _number(fields["ended"]),
    )


def _or_none(value: Any, read: Callable[[Any], T]) -> T | None:
    return None if value is None else read(value)


def _number(value: Any, *, least: int = 0, most: int = (1 << 63) - 1) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise TypeError(value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(values)
    return tuple(map(_text, values))


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _one_of(value: Any, literal: Any) -> Any:
    if value not in get_args(literal):
        raise TypeError(value)
    return value
