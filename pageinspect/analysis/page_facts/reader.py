# SPDX-License-Identifier: GPL-2.0-only
"""The interface for kernel structures that page facts need besides struct pages."""

from typing import Protocol


class UnreadableError(Exception):
    """A structure cannot be read; `fault` is the address of the failed read, or None."""

    def __init__(self, message: str, fault: int | None = None) -> None:
        super().__init__(message)
        self.fault = fault


class KernelReader(Protocol):
    """Follows pointers in struct pages; every method raises UnreadableError."""

    def page_offset_base(self) -> int:
        """Return the first virtual address of the direct map."""

    def slab_cache(self, page: int) -> str:
        """Return the name of the slab cache that the page at this struct page belongs to."""

    def file_of(self, mapping: int) -> dict[str, str | int]:
        """Return file system, device, inode number and path of the file of this address_space."""

    def cgroup_name(self, memcg_data: int) -> str:
        """Return the path of the cgroup that a memcg_data word leads to."""

    def section_flags(self, number: int) -> str:
        """Return the flags of a memory section, such as present|has_mem_map|online|early."""

    def hugetlb_flags(self, private: int) -> list[str]:
        """Return the names of the hugetlb_page_flags in this value of private."""
