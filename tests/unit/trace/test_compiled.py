# SPDX-License-Identifier: GPL-2.0-only
"""Instructions without descriptors of maps, and with those of others."""

import json
import struct

from pageinspect.trace.bpf_calls import MapShape
from pageinspect.trace.compiled import CompiledProgram, of_instructions

FREES = MapShape(6, 4, 128, 260)
EVENTS = MapShape(27, 0, 0, 1 << 22)
MAPS = {5: ("frees", FREES), 7: ("events", EVENTS)}


def load_64(source: int, number: int) -> bytes:
    """As Documentation/bpf/standardization/instruction-set.rst has it: r1 = number."""
    return struct.pack("<BBhi", 0x18, source << 4 | 1, 0, number) + bytes(8)


EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)


def test_maps_are_found_by_the_instructions_that_load_them() -> None:
    functions = {
        "f": load_64(0, 5) + load_64(1, 5) + load_64(1, 7) + load_64(1, 5) + EXIT,
        "g": EXIT,
    }
    compiled = of_instructions(functions, lambda fd: MAPS[fd])
    assert compiled.maps == {"frees": FREES, "events": EVENTS}
    assert compiled.references == {"f": {2: "frees", 4: "events", 6: "frees"}, "g": {}}
    assert compiled.functions["f"] == (
        load_64(0, 5) + load_64(1, 0) + load_64(1, 0) + load_64(1, 0) + EXIT
    )
    others = {"frees": 11, "events": 12}
    assert compiled.relocated("f", others) == (
        load_64(0, 5) + load_64(1, 11) + load_64(1, 12) + load_64(1, 11) + EXIT
    )
    assert compiled.relocated("g", others) == EXIT
    assert CompiledProgram.of_json(json.loads(json.dumps(compiled.to_json()))) == compiled
