# SPDX-License-Identifier: GPL-2.0-only
"""Looks up structures that a module has, in the module's BTF in the kernel's memory."""

import struct
from functools import partial

from drgn import FaultError, Program

from ..target.symbols.btf import BtfError
from ..target.symbols.module_btf import ModuleBtf
from .members import Members, WordMembers
from .structures import ListWalk, add_offset, read_string

_MAX_MODULES = 1 << 14
_LARGEST_BTF = 1 << 24
_LONGEST_STRING = 256
_HEADER = struct.Struct("<HBBIIIII")


def module_members(prog: Program, module: str, name: str, *members: str) -> Members:
    """Return members of 64 bits of the structure `name`: of the kernel, or of this module.

    Raises LookupError if neither has the structure with these members, or it cannot be read.
    """
    try:
        return Members(prog, f"struct {name}", *members)
    except LookupError:
        pass
    try:
        offsets = _read_btf(prog, module).struct_offsets(name)
    except (BtfError, FaultError) as error:
        raise LookupError(f"the types of module {module} cannot be read: {error}") from None
    if offsets is None:
        raise LookupError(f"module {module} has no struct {name}")
    return WordMembers(prog, {member: offsets[member] for member in members})


def _read_btf(prog: Program, module: str) -> ModuleBtf:
    entry = Members(prog, "struct btf_module", "list", "btf")
    btf = Members(prog, "struct btf", "data", "data_size", "start_str_off", "name")
    walk = ListWalk(prog, _MAX_MODULES)
    for node in walk.nodes(prog.symbol("btf_modules").address):
        found = btf.read(entry.of(entry.read(add_offset(node, -entry.at["list"])), "btf"))
        named = btf.bytes_of(found, "name", btf.size_of("name")).partition(b"\0")[0]
        if named == module.encode():
            size = btf.of(found, "data_size")
            if size > _LARGEST_BTF:
                raise BtfError(f"it has {size} bytes")
            data = prog.read(btf.of(found, "data"), size)
            return ModuleBtf(data, _base_strings(prog), btf.of(found, "start_str_off"))
    raise LookupError(f"no module {module} with types is loaded")


def _base_strings(prog: Program) -> "partial[str]":
    """Return a function that reads a string of the kernel's BTF by its offset."""
    start = prog.symbol("__start_BTF").address
    _, _, _, header, _, _, strings, _ = _HEADER.unpack(prog.read(start, _HEADER.size))
    return partial(_string_at, prog, start + header + strings)


def _string_at(prog: Program, strings: int, offset: int) -> str:
    return read_string(prog, strings + offset, _LONGEST_STRING)
