# SPDX-License-Identifier: GPL-2.0-only
"""A QMP server as another user may run one: python3 -c … SOCKET FOLDER CHANGE PROGRAM.

It writes down in FOLDER/log what it is asked. Having answered the command CHANGE, it becomes
PROGRAM, and a child of it serves on, with the guest's RAM where FOLDER/address says: an address in
PROGRAM's memory. Without CHANGE, the RAM is a buffer of its own, full of the letter Q. The guest
runs where there is a file FOLDER/running.
"""

import ctypes
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

RAM_AT = 0x10000
"""Here, an entry of the top page table is the first word of the RAM."""
RAM_SIZE = 0x10000
TREE = f"""FlatView #0
 AS "I/O", root: io
 Root memory region: io
  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan
FlatView #1
 AS "memory", root: system
 AS "cpu-memory-0", root: system
 Root memory region: system
  {0:016x}-{0xFFF:016x} (prio 0, ram): low
  {RAM_AT:016x}-{RAM_AT + RAM_SIZE - 1:016x} (prio 0, ram): pc.ram
  00000000fee00000-00000000fee00fff (prio 4096, i/o): apic-msi
"""
VMCOREINFO = f"""OSRELEASE=6.99.0-made-up
PAGESIZE=4096
SYMBOL(swapper_pg_dir)={0xFFFFFFFF80000000 + RAM_AT - 511 * 8:x}
SYMBOL(init_uts_ns)=ffffffff81000000
OFFSET(uts_namespace.name)=4
NUMBER(phys_base)=0
NUMBER(pgtable_l5_enabled)=0
NUMBER(sme_mask)=0
KERNELOFFSET=0
""" + "".join(
    f"SYMBOL({name})=ffffffff8100{number}000\n"
    for number, name in enumerate(
        [
            "_stext",
            *(
                f"kallsyms_{what}"
                for what in (
                    "num_syms",
                    "names",
                    "offsets",
                    "relative_base",
                    "token_table",
                    "token_index",
                )
            ),
        ]
    )
)


def core() -> bytes:
    """Return an ELF core with VMCOREINFO and no memory, for FOLDER/core."""
    import elf_builder

    from pageinspect.model.elf import NOTE

    note = elf_builder.note(b"VMCOREINFO", VMCOREINFO.encode())
    return elf_builder.elf(elf_builder.segment(NOTE, 120, 0, len(note))) + note


class Server:
    def __init__(self, path: str, folder: str, change: str, program: str) -> None:
        self.folder, self.change, self.program = Path(folder), change, program
        self.buffer = ctypes.create_string_buffer(b"Q" * RAM_SIZE, RAM_SIZE)
        self.descriptor = -1
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        (self.folder / "ready").touch()
        self.connection, _ = listener.accept()

    def serve(self) -> None:
        self.send({"QMP": {"version": {}, "capabilities": []}})
        self.become("greeting")
        said = b""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self.connection, 4096, 1)
            if not data:
                return
            self.descriptor = (descriptors or [self.descriptor])[0]
            said += data
            *lines, said = said.split(b"\n")
            for line in lines:
                with (self.folder / "log").open("ab") as log:
                    log.write(line + b"\n")
                # Bytes that end what another left unfinished.
                asked = json.loads(line.lstrip(b"\xff"))
                self.send({**self.answer(asked), **({"id": asked["id"]} if "id" in asked else {})})
                self.become(self.name(asked))

    def name(self, asked: dict[str, Any]) -> str:
        if asked["execute"] != "human-monitor-command":
            return str(asked["execute"])
        return str(asked["arguments"]["command-line"])

    def send(self, message: dict[str, object]) -> None:
        self.connection.sendall(json.dumps(message).encode() + b"\r\n")

    def answer(self, asked: dict[str, Any]) -> dict[str, object]:
        name = self.name(asked)
        if name.startswith("gpa2hva"):
            address = ctypes.addressof(self.buffer)
            if self.change:
                address = int((self.folder / "address").read_text())
            return {"return": f"Host virtual address for 0x10000 (pc.ram) is {address:#x}"}
        if name == "dump-guest-memory" and asked["arguments"]["length"] == 1:
            os.pwrite(self.descriptor, (self.folder / "core").read_bytes(), 0)
        elif name == "dump-guest-memory" or name.startswith("xp"):
            return {"error": {"class": "GenericError", "desc": "no"}}
        answers: dict[str, object] = {
            "query-target": {"arch": "x86_64"},
            "query-status": {"running": (self.folder / "running").exists()},
            "info mtree -f": TREE,
        }
        return {"return": answers.get(name, {})}

    def become(self, name: str) -> None:
        """Having answered the command `name`, become the other program where that is due."""
        if name != self.change:
            return
        if os.fork():
            os.execv(self.program, [self.program, "600"])  # noqa: S606
        while not (self.folder / "address").exists():
            time.sleep(0.01)


if __name__ == "__main__":
    Server(*sys.argv[1:]).serve()
