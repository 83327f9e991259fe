# SPDX-License-Identifier: GPL-2.0-only
"""Reads the BTF of a module, whose strings begin where those of the kernel's BTF end."""

from collections.abc import Callable

from .btf import Btf, BtfKind


class ModuleBtf(Btf):
    """The BTF of one module.

    `base_string` returns a string of the kernel's BTF by its offset, and `start` is the number of
    bytes of these strings. Ids of types begin after the kernel's as well: only what a record says
    of itself can be read. Raises BtfError.
    """

    def __init__(self, data: bytes, base_string: Callable[[int], str], start: int) -> None:
        self._base_string = base_string
        self._start = start
        super().__init__(data)

    def _string(self, offset: int) -> str:
        if offset < self._start:
            return self._base_string(offset)
        return super()._string(offset - self._start)

    def struct_offsets(self, name: str) -> dict[str, int] | None:
        """Return the byte offsets of the named members of a structure; None without it."""
        for type_id in range(1, len(self)):
            record = self.record(type_id)
            if record.kind is BtfKind.STRUCT and record.name == name:
                members = self.members(record)
                return {member: bits // 8 for member, _, bits, size in members if not size}
        return None
