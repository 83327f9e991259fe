# SPDX-License-Identifier: GPL-2.0-only
"""A kernel made by hand, with kallsyms and BTF in its memory, as a Program and as an ELF core."""

import struct
from dataclasses import dataclass, field
from pathlib import Path

from btf_builder import Builder, small
from drgn import Architecture, FindObjectFlags, Object, Platform, Program, sizeof
from elf_builder import elf, note, segment

from pageinspect.model.elf import HEADER, LOAD, NOTE, PROGRAM_HEADER
from pageinspect.target.symbols import attach_btf
from pageinspect.target.symbols.cache import SymbolCache

IMAGE = 0xFFFFFFFF81000000
TABLES, BTF, BANNER = 0x10000, 0x40000, 0x8000
NUM_SYMS, RELATIVE_BASE, OFFSETS, NAMES, TOKENS, INDEX = (TABLES + 0x1000 * i for i in range(6))
SYMBOLS = {
    "_stext": 0x100,
    "mem_section": 0x200,
    "__highest_present_section_nr": 0x208,
    "vmemmap_base": 0x210,
    "__start_BTF": BTF,
    "linux_banner": BANNER,
}


def types() -> Builder:
    b = small()
    b.struct("mem_section", 16, [("section_mem_map", 2, 0)])
    return b


@dataclass
class Kernel:
    """The memory of a kernel with kallsyms and BTF, as the build lays them out."""

    kaslr: int = 0
    build_id: str = "1fe9968467f2"
    symbols: dict[str, int] = field(default_factory=lambda: dict(SYMBOLS))
    memory: bytearray = field(default_factory=lambda: bytearray(0x50000))
    left_out: str = ""

    def __post_init__(self) -> None:
        data = types().build()
        self.memory[BTF : BTF + len(data)] = data
        banner = b"Linux version 6.12.1 (gcc) #1 SMP\n"
        self.memory[BANNER : BANNER + len(banner)] = banner
        symbols = self.symbols | {"__stop_BTF": BTF + len(data)}
        names = b"".join(bytes((len(n) + 1,)) + b"D" + n.encode() for n in symbols)
        tokens = [chr(i) if 32 < i < 127 else "?" for i in range(256)]
        for place, content in (
            (NUM_SYMS, struct.pack("<I", len(symbols))),
            (RELATIVE_BASE, struct.pack("<Q", IMAGE + self.kaslr)),
            (OFFSETS, struct.pack(f"<{len(symbols)}I", *symbols.values())),
            (NAMES, names),
            (TOKENS, b"".join(token.encode() + b"\0" for token in tokens)),
            (INDEX, struct.pack("<256H", *range(0, 512, 2))),
        ):
            self.memory[place : place + len(content)] = content

    def info(self) -> dict[str, str]:
        places = {
            "_stext": 0x100,
            "kallsyms_num_syms": NUM_SYMS,
            "kallsyms_relative_base": RELATIVE_BASE,
            "kallsyms_offsets": OFFSETS,
            "kallsyms_names": NAMES,
            "kallsyms_token_table": TOKENS,
            "kallsyms_token_index": INDEX,
        }
        base = IMAGE + self.kaslr
        lines = {f"SYMBOL({name})": f"{base + place:x}" for name, place in places.items()}
        lines["SYMBOL(swapper_pg_dir)"] = f"{base:x}"
        return {
            "OSRELEASE": "6.12.1",
            "BUILD-ID": self.build_id,
            "PAGESIZE": "4096",
            **lines,
            "KERNELOFFSET": f"{self.kaslr:x}",
        }

    def program(self) -> Program:
        """Return a Program that looks at this memory, and knows nothing of it."""
        prog = Program(Platform(Architecture.X86_64))
        prog.add_memory_segment(
            IMAGE + self.kaslr,
            len(self.memory),
            lambda _address, n, offset, _physical: bytes(self.memory[offset : offset + n]),
        )
        return prog

    def attach(self) -> tuple[Program, tuple[SymbolCache, ...]]:
        """Return a Program that has asked what a command would, and what is to be saved."""
        prog, caches = self.ask()
        assert sizeof(prog.type("struct mem_section")) == 16
        assert prog["PG_head"].value_() == 6
        assert prog["mem_section"].address_ == IMAGE + self.kaslr + self.symbols["mem_section"]
        return prog, caches

    def ask(self) -> tuple[Program, tuple[SymbolCache, ...]]:
        """Do so, whatever is cached."""
        info = self.info()
        text = "".join(f"{key}={value}\n" for key, value in info.items()).encode()
        prog = self.program()

        def vmcoreinfo(
            prog: Program, name: str, _flags: FindObjectFlags, _filename: str | None
        ) -> Object | None:
            kind = prog.array_type(prog.int_type("char", 1, True), len(text))
            return Object(prog, kind, text) if name == "VMCOREINFO" else None

        prog.register_object_finder("VMCOREINFO", vmcoreinfo, enable_index=0)
        caches = attach_btf(prog, {k: v for k, v in info.items() if k != self.left_out}, live=False)
        prog.type("struct mem_section"), prog["PG_head"], prog["mem_section"]
        return prog, caches

    def run(self) -> bool:
        """Do the same and save; returns whether anything had to be parsed for."""
        _, caches = self.attach()
        changed = any(each.changed for each in caches)
        for each in caches:
            each.save()
        return changed

    def write_core(self, path: Path) -> None:
        """Write an ELF core of this memory, with VMCOREINFO."""
        text = "".join(f"{key}={value}\n" for key, value in self.info().items())
        notes = note(b"VMCOREINFO", text.encode())
        at = HEADER.size + 2 * PROGRAM_HEADER.size
        start, size = at + len(notes), len(self.memory)
        headers = elf(
            segment(NOTE, at, 0, len(notes)),
            segment(LOAD, start, 0x1000000, size, virtual=IMAGE + self.kaslr),
        )
        path.write_bytes(headers + notes + self.memory)
