# SPDX-License-Identifier: GPL-2.0-only
"""Structures of a module, by BTF in memory made by hand."""

import struct

import pytest
from btf_builder import Builder
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.module_types import module_members

BASE_STRINGS = b"\0pool\0zspage\0"


def module_btf(strings_before: int) -> bytes:
    """Return the BTF of a module that has "struct zspage" with names of the kernel's BTF."""
    b = Builder()
    b.struct("other", 8, [("pool", 1, 0)])
    # Offsets below `strings_before` are in the kernel's strings.
    own = strings_before + b.name("huge")
    last = strings_before + b.name("last")
    members = [(own, 1 << 24 | 0), (1, 128), (last, 192)]
    extra = b"".join(struct.pack("<III", name, 1, offset) for name, offset in members)
    b.types += struct.pack("<III", 6, 1 << 31 | 4 << 24 | len(members), 32) + extra
    b.count += 1
    # "other" has to be the module's own string too.
    data = bytearray(b.build())
    at = 24
    (name,) = struct.unpack_from("<I", data, at)
    struct.pack_into("<I", data, at, name + strings_before)
    (member,) = struct.unpack_from("<I", data, at + 12)
    struct.pack_into("<I", data, at + 12, member + strings_before)
    return bytes(data)


class Modules:
    def __init__(self, *names: str, data: bytes = b"") -> None:
        k = self.kernel = Kernel()
        self.entry_type = k.struct("btf_module", list=k.list_head, module=k.void_p, btf=k.void_p)
        self.btf_type = k.struct(
            "btf",
            data=k.void_p,
            data_size=k.uint,
            start_str_off=k.uint,
            name=k.array(k.char, 56),
        )
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 8, len(BASE_STRINGS))
        base = k.room(64)
        k.write(base, header + bytes(8) + BASE_STRINGS)
        data = data or module_btf(len(BASE_STRINGS))
        place = k.room(len(data))
        k.write(place, data)
        self.btfs = [
            k.make(
                self.btf_type,
                data=place,
                data_size=len(data),
                start_str_off=len(BASE_STRINGS),
                name=name.encode(),
            )
            for name in names
        ]
        entries = [k.make(self.entry_type, btf=btf) for btf in self.btfs]
        head = k.ring(self.entry_type, *entries)
        k.symbols({"btf_modules": (head, 16), "__start_BTF": (base, 1)})


def test_members_with_names_of_the_kernel_and_of_the_module() -> None:
    modules = Modules("zram", "zsmalloc")
    found = module_members(modules.kernel.prog, "zsmalloc", "zspage", "pool", "last")
    assert found.at == {"pool": 16, "last": 24}
    address = modules.kernel.words(1, 2, 3, 4)
    assert found.of(found.read(address), "last") == 4


def test_a_structure_of_the_kernel_comes_first() -> None:
    modules = Modules("zsmalloc")
    kernel = modules.kernel
    kernel.struct("zspage", pool=kernel.uint)
    assert module_members(kernel.prog, "zsmalloc", "zspage", "pool").at == {"pool": 0}


@pytest.mark.parametrize(
    ("module", "name", "member", "problem"),
    [
        ("zram", "zspage", "pool", "no module zram with types is loaded"),
        ("zsmalloc", "zs_pool", "name", "module zsmalloc has no struct zs_pool"),
        ("zsmalloc", "zspage", "huge", "huge"),
    ],
)
def test_what_is_missing(module: str, name: str, member: str, problem: str) -> None:
    modules = Modules("zsmalloc")
    with pytest.raises(LookupError, match=problem):
        module_members(modules.kernel.prog, module, name, member)


@pytest.mark.parametrize(
    ("member", "value"),
    [("data", BASE + (1 << 30)), ("data_size", 1 << 30), ("data_size", 30), ("data_size", 0)],
)
def test_damage(member: str, value: int) -> None:
    modules = Modules("zsmalloc")
    modules.kernel.set(modules.btf_type, modules.btfs[0], member, value)
    with pytest.raises(LookupError, match="cannot be read"):
        module_members(modules.kernel.prog, "zsmalloc", "zspage", "pool")


def test_a_name_that_is_not_there() -> None:
    modules = Modules("zsmalloc")
    modules.kernel.set(modules.btf_type, modules.btfs[0], "start_str_off", 1 << 31)
    with pytest.raises(LookupError):
        module_members(modules.kernel.prog, "zsmalloc", "zspage", "last")


def test_a_kernel_without_modules() -> None:
    with pytest.raises(LookupError):
        module_members(Kernel().prog, "zsmalloc", "zspage", "pool")
