# SPDX-License-Identifier: GPL-2.0-only
"""What is left of a program once it is compiled: instructions, the maps they use, and type ids."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .bpf_calls import MapShape

_INSTRUCTION = np.dtype(
    [("code", np.uint8), ("registers", np.uint8), ("offset", "<i2"), ("immediate", "<i4")]
)
"""struct bpf_insn; the source register is in the upper four bits."""
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

    def relocated(self, function: str, descriptors: Mapping[str, int]) -> bytes:
        """Return the instructions of a function, with these descriptors of maps."""
        instructions = np.frombuffer(self.functions[function], _INSTRUCTION).copy()
        for number, name in self.references[function].items():
            instructions["immediate"][number] = descriptors[name]
        return instructions.tobytes()


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
        instructions = np.frombuffer(code, _INSTRUCTION).copy()
        loads_map = (instructions["code"] == _LOAD_64) & (
            instructions["registers"] >> 4 == _PSEUDO_MAP_FD
        )
        references[function] = {}
        for number in np.flatnonzero(loads_map).tolist():
            name, shape = map_of(int(instructions["immediate"][number]))
            references[function][number] = name
            maps[name] = shape
        instructions["immediate"][loads_map] = 0
        stored[function] = instructions.tobytes()
    return CompiledProgram(stored, references, maps)
