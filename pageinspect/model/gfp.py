# SPDX-License-Identifier: GPL-2.0-only
"""Names of the flags of an allocation, as the kernel itself writes them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GfpNames:
    """The kernel's names of gfp flags, and of sets of them such as GFP_KERNEL."""

    names: tuple[tuple[int, str], ...] = ()
    """(mask, name): a set comes before the flags in it."""

    def text(self, flags: int) -> str:
        """Return flags as `%pGg` of the kernel does, and as a number what has no name."""
        parts = []
        for mask, name in self.names:
            if mask and flags & mask == mask:
                parts.append(name)
                flags &= ~mask
        if flags or not parts:
            parts.append(f"{flags:#x}")
        return "|".join(parts)
