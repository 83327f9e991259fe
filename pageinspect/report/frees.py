# SPDX-License-Identifier: GPL-2.0-only
"""Numbers of frees: by order, and by type."""

from dataclasses import dataclass

from ..model.table import Absent, Cell, Column

NOT_APPLICABLE = (Absent.NOT_APPLICABLE,)
TYPE = Column("type")
FREES = Column("frees", "int64", "count")
PAGES = Column("pages", "int64", "pages", absent=NOT_APPLICABLE)
ORDERS = Column(
    "order:frees",
    "map[string,int64]",
    "count",
    "orders",
    absent=NOT_APPLICABLE,
    spare=1,
)


@dataclass(frozen=True, slots=True)
class Frees:
    """Frees by order: `of_order[order]` frees of 1 << order pages each."""

    of_order: tuple[int, ...] = ()

    @classmethod
    def single(cls, order: int, frees: int) -> "Frees":
        """Return `frees` frees of one order."""
        return cls((*[0] * order, frees))

    @property
    def frees(self) -> int:
        """The number of calls of the allocator's free path."""
        return sum(self.of_order)

    @property
    def pages(self) -> int:
        """The number of pages that were freed."""
        return sum(frees << order for order, frees in enumerate(self.of_order))

    @property
    def by_order(self) -> dict[int, int]:
        """The number of frees by order, without orders that have none."""
        return {order: frees for order, frees in enumerate(self.of_order) if frees}

    def __add__(self, other: "Frees") -> "Frees":
        shorter, longer = sorted((self.of_order, other.of_order), key=len)
        summed = [*longer]
        for order, frees in enumerate(shorter):
            summed[order] += frees
        return Frees(tuple(summed))

    def to_json(self) -> dict[str, int]:
        """Return the JSON form."""
        return {"frees": self.frees, "pages": self.pages}

    @property
    def orders(self) -> dict[str, int]:
        """The same with the order as text, for JSON."""
        return {str(order): frees for order, frees in self.by_order.items()}

    def cells(self, page_size: int) -> tuple[Cell, ...]:
        """Return the cells that all rows have: frees, pages, bytes, orders."""
        return (self.frees, self.pages, self.pages * page_size, self.orders)


@dataclass(frozen=True, slots=True)
class TypeFrees:
    """Frees of pages with one type set, or one set of types such as `table+kmemcg`."""

    type_name: str
    expected: bool
    """Whether owners leave the type set because this kernel's allocator resets it."""
    frees: Frees
