# SPDX-License-Identifier: GPL-2.0-only
"""Pages of types that have no kind of their own."""

from ..classify.uses import Pages
from .kind import Kind, use_keys

TYPED = Kind(
    "typed",
    "Pages with a page type that has no kind of its own, by type, such as guard and unaccepted.",
    "The page type.",
    compute=use_keys,
    reads=(Pages.use,),
)
