# SPDX-License-Identifier: GPL-2.0-only
"""Names pools of network pages from words that point to a struct page_pool.

The word is `pp` of a folio's head, of pages with the use page_pool.
"""

from collections.abc import Iterable, Sequence

from drgn import FaultError, Program

from ...model.owner_names import UNREADABLE, PoolName
from ..members import Members
from ..structures import read_string, require_structure
from ..xarrays import XarrayWalk

_MAX_POOLS = 1 << 16
_LONGEST_DEVICE = 64
_MAX_ORDER = 10
_NETDEV = ("slow.netdev", "p.netdev")
_DEVICE = "p.dev"
_ID = "user.id"


class PagePoolNames:
    """Names pools by their network device and number."""

    def __init__(self, prog: Program) -> None:
        self._prog = prog
        with require_structure("pools of network pages"):
            self._pool = Members(
                prog,
                "struct page_pool",
                *("p.order", "pages_state_hold_cnt", "pages_state_release_cnt"),
                optional=(*_NETDEV, _DEVICE, _ID),
            )
        self._netdev = next((name for name in _NETDEV if name in self._pool), "")
        try:
            self._net_device = Members(prog, "struct net_device", "name")
            self._device = Members(prog, "struct device", "kobj.name")
        except LookupError:
            self._netdev = ""
        self.unreadable = 0

    def names(self, words: Iterable[int]) -> list[PoolName]:
        """Return the pool of each word, in the same order."""
        return [self._name(int(word)) for word in words]

    def all_pools(self) -> tuple[Sequence[PoolName], bool]:
        """Return all pools, and whether all could be read; raises MissingStructureError.

        Older kernels do not list their pools.
        """
        with require_structure("list of pools of network pages"):
            head = int(self._prog.symbol("page_pools").address)
            walk = XarrayWalk(self._prog, _MAX_POOLS)
        before = self.unreadable
        pools = self.names(walk.entries(head))
        return pools, walk.whole and self.unreadable == before

    def _name(self, word: int) -> PoolName:
        pool = self._pool
        try:
            data = pool.read(word)
        except FaultError:
            self.unreadable += 1
            return PoolName(word, UNREADABLE, None)
        held = pool.of(data, "pages_state_hold_cnt") - pool.of(data, "pages_state_release_cnt")
        order = min(pool.of(data, "p.order"), _MAX_ORDER)
        number = f"pool {pool.of(data, _ID)}" if _ID in pool else f"pool at {word:#x}"
        return PoolName(
            word, f"{self._device_of(data)} {number}".lstrip(), (held & 0xFFFFFFFF) << order
        )

    def _device_of(self, pool: bytes) -> str:
        """Return the name of a pool's device; "" for one without, or whose device was removed."""
        try:
            if self._netdev:
                data = self._net_device.read(self._pool.of(pool, self._netdev))
                text = self._net_device.bytes_of(data, "name", self._net_device.size_of("name"))
                return text.partition(b"\0")[0].decode("utf-8", "replace")
            if _DEVICE in self._pool:
                data = self._device.read(self._pool.of(pool, _DEVICE))
                name = self._device.of(data, "kobj.name")
                return read_string(self._prog, name, _LONGEST_DEVICE)
        except FaultError:
            return ""
        return ""
