# SPDX-License-Identifier: GPL-2.0-only
"""Names of owners that words of struct page lead to.

All texts are untrusted: they come from the kernel's memory, have a bounded length and may contain
any character.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

UNREADABLE = "unreadable"
"""The name of an owner whose structures cannot be read."""

FileForm = Literal[
    "path",
    "deleted",
    "unmounted",
    "inode",
    "memfd",
    "sysv",
    "anonymous",
    "device",
    "pseudo",
    "unreadable",
]


class OwnerName(NamedTuple):
    """The name of an owner. All texts are untrusted."""

    name: str
    caller: str = ""
    file_system: str = ""


RESERVED = "reserved"
"""The end of the name of free huge pages that are reserved."""
NAMED_BY_VALUE = ("free", "damaged", "typed", "large_kmalloc", "unknown")
"""Kinds whose names need only the value of the key."""


@dataclass(frozen=True, slots=True)
class FileName:
    """The file that a struct address_space belongs to."""

    path: str
    """A path of the file or, without one, a text that identifies it."""
    filesystem: str
    """Type of the file system, such as ext4; empty if unknown."""
    device: str
    """The identifier of the file system, usually its device; empty if unknown."""
    inode: int
    """Inode number; 0 if unknown."""
    form: FileForm
    """The kind of `path`:

    - path: a path below one mount of the file system. The file may have others.
    - deleted: the same of a file without a directory entry, with " (deleted)" appended.
    - unmounted: a path in a file system without a mount, or whose mounts cannot be read.
    - inode: "inode N of FILESYSTEM on DEVICE", for a file without a cached name.
    - memfd: "memfd:NAME".
    - sysv: "SYSV id N key 0xKEY", a segment of shmget().
    - anonymous: memory that processes share without a file.
    - device: "block device NAME": blocks that are read through the device, such as metadata.
    - pseudo: a file of the kernel's own, by its name.
    - unreadable: what can be read of it is in the other members.
    """
    shmem: bool
    """Whether its pages are of shmem: they count as Shmem, and can be swapped."""


@dataclass(frozen=True, slots=True)
class AnonOwner:
    """The processes that may map anonymous pages.

    They are the one that made the pages, and those forked from it that still have the memory area.
    """

    mms: tuple[int, ...]
    """Addresses of their struct mm_struct, each once; that of the process that made them first."""
    cut: bool
    """Whether there are more than `mms` has."""
    form: Literal["anon", "ksm", "unreadable"]

    def label(self, processes: Mapping[int, str]) -> str:
        """Return "NAME" or "NAME and N more"; `processes` has names of mms by their address."""
        if self.form != "anon":
            return "KSM" if self.form == "ksm" else UNREADABLE
        number, plus = len(self.mms), "+" if self.cut else ""
        name = next((processes[mm] for mm in self.mms if mm in processes), None)
        if name is None:
            return f"{number}{plus} process" + ("" if number == 1 and not plus else "es")
        return name if number == 1 and not plus else f"{name} and {number - 1}{plus} more"


@dataclass(frozen=True, slots=True)
class PoolName:
    """A pool that has pages, of page_pool or of zsmalloc."""

    address: int
    """Address of its structure."""
    name: str
    pages: int | None
    """The pages that it has by its own count; None if unreadable."""


@dataclass(frozen=True, slots=True)
class HugetlbPool:
    """A pool of huge pages of one size, by the counters of its struct hstate."""

    order: int
    pages: int
    """Huge pages, as the three below."""
    free: int
    reserved: int
    """Promised to mappings that have not touched them yet: a part of `free`."""
    surplus: int
    """Allocated beyond the configured number."""
