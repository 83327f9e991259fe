# SPDX-License-Identifier: GPL-2.0-only
"""Members of structures, read together from memory made by hand."""

import pytest
from drgn import FaultError
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.members import Members, WordMembers
from pageinspect.kernel.structures import read_string


def made() -> Kernel:
    kernel = Kernel()
    inner = kernel.struct("inner", a=kernel.uint, b=kernel.uint)
    kernel.struct("outer", first=kernel.ulong, inner=inner, text=kernel.array(kernel.char, 4))
    # In cores of QEMU, address 0 can be read.
    kernel.prog.add_memory_segment(0, 4096, lambda _address, count, *_rest: bytes(count))
    return kernel


def test_members_of_members() -> None:
    kernel = made()
    members = Members(kernel.prog, "struct outer", "inner.b", "text", optional=("inner.c", "inner"))
    assert members.at == {"inner.b": 12, "text": 16, "inner": 8}
    assert "inner.c" not in members
    assert (members.size, members.size_of("inner.b"), members.size_of("text")) == (24, 4, 4)
    address = kernel.words(1, 5 << 32 | 4, 0x64636261)
    data = members.read(address)
    assert (members.of(data, "inner.b"), members.bytes_of(data, "text", 3)) == (5, b"abc")
    with pytest.raises(LookupError):
        Members(kernel.prog, "struct outer", "inner.c")


def test_words_of_a_structure_without_a_type() -> None:
    kernel = made()
    members = WordMembers(kernel.prog, {"b": 16, "a": 8})
    assert (members.size, members.of(members.read(kernel.words(1, 2, 3)), "b")) == (24, 3)


@pytest.mark.parametrize("address", [0, 8, BASE - 16, (1 << 64) - 8, 1 << 64, -8])
def test_addresses_that_are_not_those_of_a_structure(address: int) -> None:
    members = Members(made().prog, "struct outer", "inner", optional=("text",))
    with pytest.raises(FaultError):
        members.read(address)
    with pytest.raises(FaultError):
        members.read_partly(address)


@pytest.mark.parametrize("address", [0, 8, BASE - 8, (1 << 64) - 1])
def test_addresses_that_are_not_those_of_a_string(address: int) -> None:
    with pytest.raises(FaultError):
        read_string(made().prog, address, 64)
