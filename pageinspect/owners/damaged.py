# SPDX-License-Identifier: GPL-2.0-only
"""Pages with a hardware error, and pages whose struct page contradicts itself."""

from ..classify.uses import Pages
from .kind import Kind, use_keys

DAMAGED = Kind(
    "damaged",
    "Pages with a hardware error (hwpoison), and pages whose struct pages contradict each other "
    "(conflict).",
    "The use, which is also the name.",
    owns=("hwpoison", "conflict"),
    compute=use_keys,
    reads=(Pages.use,),
)
