"""What can be asked of runs: the columns that pages of a run agree in."""

from typing import Literal

from .reads import Declared
from .uses import Pages
from .words import (
    ENTIRE_MAPCOUNT,
    FLAGS,
    MAPPING,
    MEMCG,
    OWN_MAPPING,
    REFCOUNT,
    TYPE_WORD,
    flag_bit,
)

Detail = Literal["type", "use", "all"]
"""What is asked of runs: types and folios; uses as well; or all that `check` prints of a page."""

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

DETAILS: dict[Detail, tuple[Declared, ...]] = {
    "type": _TYPES,
    "use": _USES,
    "all": (*_USES, TYPE_WORD, REFCOUNT, FLAGS, OWN_MAPPING, MAPPING, MEMCG),
}
