# SPDX-License-Identifier: GPL-2.0-only
"""Page cache of files."""

from ..classify.words import MAPPING
from .kind import Kind, mapping_keys

FILE = Kind(
    "file",
    "Page cache of files and block devices, by path and file system.",
    "mapping of the folio's head: the struct address_space, whose host is the inode.",
    owns=("file",),
    group="file",
    counter="NR_FILE_PAGES, without NR_SHMEM and NR_SWAPCACHE",
    limits="The path is one of the file's paths, below one of its mounts.",
    compute=mapping_keys,
    reads=(MAPPING,),
)
