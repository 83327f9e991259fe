# SPDX-License-Identifier: GPL-2.0-only
"""What is left of a program once it is compiled: instructions, the maps they use, and type ids."""

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .bpf_calls import INSTRUCTION, MapShape

_IMMEDIATE = struct.Struct("<i")
_IMMEDIATE_OFFSET = 4
_LOAD_64 = 0x18
"""BPF_LD | BPF_IMM | BPF_DW: it takes the place of two instructions, the second one with code 0."""
_PSEUDO_MAP_FD = 1


@dataclass(frozen=True, slots=True)
class CompiledProgram:
    """The functions of one source file, without descriptors of maps."""

    functions: dict[str, bytes]
    """Instructions by the name of the function. Where they load a map, its descriptor is 0."""
    references: dict[str, dict[int, str]]
    """By function: the names of maps by the number of the instruction that loads them."""
    maps: dict[str, MapShape]
    """The maps that the functions use."""
    type_ids: dict[str, int] = field(default_factory=dict)
    """BTF ids in this kernel, by the name of the type or function: those that were looked up."""
    preempted: bool = False
    """Whether this kernel may preempt a task within a program (preempts_programs())."""

    def relocated(self, function: str, descriptors: Mapping[str, int]) -> bytes:
        """Return the instructions of a function, with these descriptors of maps."""
        instructions = bytearray(self.functions[function])
        for number, name in self.references[function].items():
            _set_immediate(instructions, number, descriptors[name])
        return bytes(instructions)

    def to_json(self) -> dict[str, Any]:
        """Return a document with a digest of its content."""
        content = {
            "functions": {name: code.hex() for name, code in self.functions.items()},
            "references": {
                function: {str(number): name for number, name in loads.items()}
                for function, loads in self.references.items()
            },
            "maps": self.maps,
            "type_ids": self.type_ids,
            "preempted": self.preempted,
        }
        return {"content": content, "digest": _digest(content)}

    @classmethod
    def of_json(cls, document: Any) -> "CompiledProgram":
        """Return the program of a document.

        Raises ValueError, KeyError, TypeError or AttributeError if it is not as to_json() made it.
        """
        content = document["content"]
        if _digest(content) != document["digest"]:
            raise ValueError("damaged")
        return cls(
            {name: bytes.fromhex(code) for name, code in content["functions"].items()},
            {
                function: {int(number): name for number, name in loads.items()}
                for function, loads in content["references"].items()
            },
            {name: MapShape(*shape) for name, shape in content["maps"].items()},
            dict(content["type_ids"]),
            bool(content["preempted"]),
        )


def _set_immediate(instructions: bytearray, number: int, value: int) -> None:
    _IMMEDIATE.pack_into(instructions, number * INSTRUCTION.size + _IMMEDIATE_OFFSET, value)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def of_instructions(
    functions: Mapping[str, bytes], map_of: Callable[[int], tuple[str, MapShape]]
) -> CompiledProgram:
    """Return functions whose instructions load maps by their descriptors, without descriptors.

    `map_of` returns the name and the shape of the map with a descriptor.
    """
    stored: dict[str, bytes] = {}
    references: dict[str, dict[int, str]] = {}
    maps: dict[str, MapShape] = {}
    for function, code in functions.items():
        instructions = bytearray(code)
        references[function] = {}
        for number, (opcode, registers, _, descriptor) in enumerate(INSTRUCTION.iter_unpack(code)):
            if opcode == _LOAD_64 and registers >> 4 == _PSEUDO_MAP_FD:
                name, shape = map_of(descriptor)
                references[function][number] = name
                maps[name] = shape
                _set_immediate(instructions, number, 0)
        stored[function] = bytes(instructions)
    return CompiledProgram(stored, references, maps)
