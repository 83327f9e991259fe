# SPDX-License-Identifier: GPL-2.0-only
"""Pages of tmpfs, memfds and shared memory."""

from ..classify.words import MAPPING
from .kind import Kind, mapping_keys

SHMEM = Kind(
    "shmem",
    "Pages of tmpfs files by path, of memfds by name, and of System V segments by id.",
    "mapping of the folio's head: the struct address_space, whose host is the inode.",
    owns=("shmem",),
    group="file",
    counter="NR_SHMEM",
    limits="Shared anonymous memory has one name for all: /dev/zero (shared anonymous). What is "
    "swapped out has no page.",
    compute=mapping_keys,
    reads=(MAPPING,),
)
