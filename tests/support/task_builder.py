# SPDX-License-Identifier: GPL-2.0-only
"""Tasks made by hand, in the memory of a drgn Program that knows their types."""

import struct
from typing import Any

from drgn import (
    Architecture,
    FaultError,
    FindObjectFlags,
    Object,
    Platform,
    Program,
    Type,
    TypeEnumerator,
    TypeMember,
)

DIRECT, VMEMMAP, BASE, END = 1 << 63 | 1 << 60, 0xFFFFEA0000000000, 1 << 63, 1 << 63 | 1 << 20
KTHREAD = 0x00200000
PERCPU = [0, 0x1000]
"""What a CPU's variables are away from where they are linked."""
COUNTERS = {"MM_FILEPAGES": 0, "MM_ANONPAGES": 1, "MM_SWAPENTS": 2, "MM_SHMEMPAGES": 3}
TASK = 0x100


class Kernel:
    """Structures that are put where the next one fits, and a Program to read them."""

    def __init__(self, *, percpu_counters: bool = True, parent: str = "__parent") -> None:
        self.prog = Program(Platform(Architecture.X86_64))
        self.memory = bytearray(END - BASE)
        self.lost: set[int] = set()
        """Addresses of structures that cannot be read."""
        self._next = BASE + 0x4000
        self.types = self._types(percpu_counters, parent)
        self.prog.register_type_finder("test", self._type, enable_index=0)
        self.prog.register_object_finder("test", self._object, enable_index=0)
        self.prog.add_memory_segment(BASE, END - BASE, self._read)
        self.variables: dict[str, tuple[str, int]] = {
            "init_task": ("task_struct", self.place(TASK)),
            "page_offset_base": ("ulong", self.word(DIRECT)),
            "__per_cpu_offset": ("offsets", self.place(16, struct.pack("<2Q", *PERCPU))),
            "__cpu_possible_mask": ("cpumask", self.word((1 << len(PERCPU)) - 1)),
            "nr_cpu_ids": ("uint", self.word(len(PERCPU))),
            "runqueues": ("rq", BASE + 0x100),
            "cached_stacks": ("cached", BASE + 0x200),
        }
        init = self.variables["init_task"][1]
        self.link(init + 32, [])

    def place(self, size: int, data: bytes = b"") -> int:
        """Put a structure somewhere; returns its address."""
        address = self._next
        self._next += -(-size // 16) * 16
        self.write(address, data)
        return address

    def word(self, value: int) -> int:
        return self.place(8, struct.pack("<Q", value))

    def write(self, address: int, data: bytes | int) -> None:
        if isinstance(data, int):
            data = struct.pack("<Q", data & (1 << 64) - 1)
        self.memory[address - BASE : address - BASE + len(data)] = data

    def text(self, text: str) -> int:
        return self.place(len(text) + 1, text.encode() + b"\0")

    def link(self, head: int, nodes: list[int]) -> None:
        """Link the nodes of a list in both directions."""
        ring = [head, *nodes]
        for at, node in enumerate(ring):
            self.write(node, struct.pack("<2Q", ring[(at + 1) % len(ring)], ring[at - 1]))

    def tasks(self, *leaders: int) -> None:
        """Make these the processes."""
        self.link(self.variables["init_task"][1] + 32, [leader + 32 for leader in leaders])

    def task(self, pid: int, tgid: int | None = None, comm: bytes = b"", **words: int) -> int:
        """Make a task; one without `signal` is a process of one thread."""
        signal = words.pop("signal", 0) or self.place(16)
        address = self.place(TASK)
        self.write(address, struct.pack("<3i", pid, pid if tgid is None else tgid, 0))
        self.write(address + 8, struct.pack("<I", words.pop("flags", 0)))
        self.write(address + 64, comm)
        self.write(address + 24, signal)
        for name, at in (("mm", 16), ("stack", 80), ("cgroups", 88)):
            self.write(address + at, words.pop(name, 0))
        self.write(address + 96, struct.pack("<5i", 0, *words.pop("rss_deltas", [0] * 4)))
        self.link(signal, [address + 48])
        assert not words
        return address

    def threads(self, signal: int, *tasks: int) -> None:
        """Make these the threads of one process."""
        self.link(signal, [task + 48 for task in tasks])

    def mm(self, pgd_pfn: int, counts: list[int], percpu: list[list[int]], exe: int = 0) -> int:
        """Make an mm; `percpu` has what each CPU adds to the counters, in the kernel's order."""
        address = self.place(0x100)
        self.write(address, DIRECT + (pgd_pfn << 12))
        self.write(address + 8, exe)
        slots = BASE + 0x300 + len(COUNTERS) * 4 * (self._next % 7)
        for i, count in enumerate(counts):
            if not percpu:
                self.write(address + 16 + 8 * i, count)
                continue
            self.write(address + 16 + 40 * i + 8, count)
            self.write(address + 16 + 40 * i + 32, slots + 4 * i)
            for cpu, of_cpu in zip(PERCPU, percpu, strict=True):
                self.write(slots + 4 * i + cpu, struct.pack("<i", of_cpu[i]))
        self.write(address + 200, 0x5000)
        self.write(address + 208, 512)
        return address

    def stack(self, *pfns: int) -> int:
        """Make a vmalloc area of these pages; returns the address of its struct vm_struct."""
        pages = self.place(
            8 * len(pfns), b"".join((VMEMMAP + 64 * p).to_bytes(8, "little") for p in pfns)
        )
        return self.place(16, struct.pack("<QI", pages, len(pfns)))

    def cgroup(self, *names: str, root: int = 1) -> int:
        """Make a cgroup with this path."""
        node = self.place(16)
        for name in names:
            node = self.place(16, struct.pack("<2Q", node, self.text(name)))
        return self.place(16, struct.pack("<2Q", node, root))

    def css_set(self, default: int, memory: int) -> int:
        css = self.word(memory) if memory else 0
        return self.place(24, struct.pack("<3Q", default, 0, css))

    def file(self, *names: str, mounted: tuple[str, ...] = ()) -> int:
        """Make a file at a path, of which the part `mounted` is in a file system mounted there."""
        top = self._dentry(0, "")
        place = top
        for name in names:
            place = self._dentry(place, name)
        mount = self.place(32)
        self.write(mount, struct.pack("<3Q", mount, top, top))
        if mounted:
            inner = self._dentry(0, "")
            mount = self.place(32, struct.pack("<3Q", mount, place, inner))
            place = inner
            for name in mounted:
                place = self._dentry(place, name)
        return self.place(16, struct.pack("<2Q", mount + 16, place))

    def _dentry(self, parent: int, name: str) -> int:
        address = self.place(64)
        self.write(address, struct.pack("<2Q", parent or address, self.text(name)))
        return address

    def _read(self, address: int, count: int, _offset: int, _physical: bool) -> bytes:
        if any(address < lost + TASK and lost < address + count for lost in self.lost):
            raise FaultError("not there", address)
        return bytes(self.memory[address - BASE : address - BASE + count])

    def _type(self, _prog: Program, _kinds: Any, name: str, _file: str | None) -> Type | None:
        return self.types.get(name)

    def _object(
        self, prog: Program, name: str, flags: FindObjectFlags, _file: str | None
    ) -> Object | None:
        if flags & FindObjectFlags.CONSTANT and name in self._constants:
            return Object(prog, self.types["items"], self._constants[name])
        if flags & FindObjectFlags.VARIABLE and name in self.variables:
            type_, address = self.variables[name]
            return Object(prog, self.types[type_], address=address)
        return None

    _constants = COUNTERS | {"memory_cgrp_id": 1}

    def _types(self, percpu_counters: bool, parent: str) -> dict[str, Type]:
        prog, void = self.prog, self.prog.pointer_type(self.prog.void_type())
        int_, uint = prog.int_type("int", 4, True), prog.int_type("unsigned int", 4, False)
        char, ulong = prog.int_type("char", 1, True), prog.int_type("unsigned long", 8, False)
        types: dict[str, Type] = {"ulong": ulong, "uint": uint}

        def structure(name: str, size: int, /, **members: tuple[Type | None, int]) -> Type:
            """Make a type; a member of none is a pointer to the structure itself."""
            made = [
                TypeMember(type_ or (lambda: prog.pointer_type(types[name])), m, 8 * at)
                for m, (type_, at) in members.items()
            ]
            types[name] = prog.struct_type(name, size, made)
            return types[name]

        pointer = prog.pointer_type
        list_head = structure("list_head", 16, next=(void, 0), prev=(void, 8))
        kept = structure("task_rss_stat", 20, events=(int_, 0), count=(prog.array_type(int_, 4), 4))
        node = structure("kernfs_node", 16, **{parent: (None, 0)}, name=(pointer(char), 8))
        cgroup = structure("cgroup", 16, kn=(pointer(node), 0), root=(void, 8))
        css = structure("cgroup_subsys_state", 8, cgroup=(pointer(cgroup), 0))
        subsys = prog.array_type(pointer(css), 2)
        structure("css_set", 24, dfl_cgrp=(pointer(cgroup), 0), subsys=(subsys, 8))
        task = structure(
            "task_struct",
            TASK,
            pid=(int_, 0),
            tgid=(int_, 4),
            flags=(uint, 8),
            mm=(void, 16),
            signal=(void, 24),
            tasks=(list_head, 32),
            thread_node=(list_head, 48),
            comm=(prog.array_type(char, 16), 64),
            stack_vm_area=(void, 80),
            cgroups=(void, 88),
            **({} if percpu_counters else {"rss_stat": (kept, 96)}),
        )
        structure("signal_struct", 16, thread_head=(list_head, 0))
        counter = structure("percpu_counter", 40, count=(ulong, 8), counters=(void, 32))
        old = structure("mm_rss_stat", 32, count=(prog.array_type(ulong, 4), 0))
        structure(
            "mm_struct",
            0x100,
            pgd=(void, 0),
            exe_file=(void, 8),
            rss_stat=(prog.array_type(counter, 4) if percpu_counters else old, 16),
            pgtables_bytes=(ulong, 200),
            hugetlb_usage=(ulong, 208),
        )
        area = structure("vm_struct", 16, pages=(void, 0), nr_pages=(uint, 8))
        structure("rq", 8, idle=(pointer(task), 0))
        structure("cpumask", 8, bits=(prog.array_type(ulong, 1), 0))
        types["offsets"] = prog.array_type(ulong, 2)
        types["cached"] = prog.array_type(pointer(area), 2)
        self._file_types(structure, pointer, char)
        enumerators = [TypeEnumerator(name, value) for name, value in self._constants.items()]
        types["items"] = prog.enum_type(None, uint, enumerators)
        return types

    def _file_types(self, structure: Any, pointer: Any, char: Type) -> None:
        name = structure("qstr", 8, name=(pointer(char), 0))
        node = structure("hlist_node", 16, next=(None, 0), pprev=(None, 8))
        own = {"d_parent": (None, 0), "d_inode": (None, 32)}
        places = {"d_name": (name, 8), "d_hash": (node, 16), "d_alias": (node, 40)}
        dentry = structure("dentry", 64, **own, **places)
        vfsmount = structure("vfsmount", 8, mnt_root=(pointer(dentry), 0))
        path = structure("path", 16, mnt=(pointer(vfsmount), 0), dentry=(pointer(dentry), 8))
        structure("file", 16, f_path=(path, 0))
        inner = {"mnt_mountpoint": (pointer(dentry), 8), "mnt": (vfsmount, 16)}
        structure("mount", 32, mnt_parent=(None, 0), mnt_ns=(None, 24), **inner)
        structure("super_block", 16, s_root=(pointer(dentry), 0), s_mounts=(None, 8))
