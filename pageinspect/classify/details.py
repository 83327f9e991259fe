# SPDX-License-Identifier: GPL-2.0-only
"""The details of runs: for each, the columns in which all pages of a run agree."""

from typing import Literal

from .reads import Declared
from .uses import Pages
from .words import (
    ENTIRE_MAPCOUNT,
    FLAGS,
    HEAD_MEMCG,
    HEAD_REFCOUNT,
    LARGE_MAPCOUNT,
    MAPPING,
    MEMCG,
    OWN_MAPPING,
    PINCOUNT,
    REFCOUNT,
    TYPE_WORD,
    flag_bit,
)

Detail = Literal["type", "use", "owner", "references", "charges", "cgroup", "dump", "all"]
"""The columns to keep: "type" has types and folios, "use" also uses, "owner" also the mapping,
"references" also what shows who holds references, "charges" this and the memory cgroup, "cgroup"
what "owner" has and the memory cgroup, "dump" what
"owner" has and dump levels depend on, "all" what `check` prints."""

_TYPES: tuple[Declared, ...] = (
    Pages.code,
    Pages.order,
    Pages.head,
    Pages.zone,
    Pages.node,
    Pages.freeing,
)
_USES: tuple[Declared, ...] = (
    *_TYPES,
    Pages.use,
    Pages.on_trylock_list,
    flag_bit("lru", "folio"),
    ENTIRE_MAPCOUNT,
)

_REFERENCES: tuple[Declared, ...] = (
    *_USES,
    MAPPING,
    TYPE_WORD,
    HEAD_REFCOUNT,
    LARGE_MAPCOUNT,
    PINCOUNT,
    Pages.in_swap_cache,
    Pages.folio_order,
    flag_bit("private", "folio"),
    flag_bit("uptodate"),
)

DETAILS: dict[Detail, tuple[Declared, ...]] = {
    "type": _TYPES,
    "use": _USES,
    "owner": (*_USES, MAPPING),
    "references": _REFERENCES,
    "charges": (*_REFERENCES, HEAD_MEMCG),
    "cgroup": (*_USES, MAPPING, HEAD_MEMCG),
    "dump": (*_USES, MAPPING, flag_bit("private", "folio"), flag_bit("hwpoison", "folio")),
    "all": (*_USES, TYPE_WORD, REFCOUNT, FLAGS, OWN_MAPPING, MAPPING, MEMCG, HEAD_MEMCG),
}
