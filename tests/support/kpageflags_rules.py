# SPDX-License-Identifier: GPL-2.0-only
"""The rules of the newest kernel."""

from pageinspect.model.kpageflags import Kpf, Rules

LARGE_RMAPPABLE, DOUBLE_MAP, SWAPCACHE, IDLE = 9, 6, 10, 22

NEWEST = Rules(
    copied=((Kpf.LOCKED, 0), (Kpf.LRU, 5), (Kpf.ACTIVE, 8), (Kpf.RESERVED, 13)),
    by_folio=True,
    types_by_head=True,
    ksm="exact",
    inferred_from="",
    idle=IDLE,
    hwpoison=20,
    large_rmappable=LARGE_RMAPPABLE,
    double_map=None,
    typed_below=-(1 << 24),
    hole=0,
)
