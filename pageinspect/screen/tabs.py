# SPDX-License-Identifier: GPL-2.0-only
"""The tabs of the screen, and what opens from a row of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .reading import Question

Row = Mapping[str, str]
"""The texts of a row by the heading of their column."""


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab of the screen."""

    name: str
    opens: Callable[[Row], Question | None]
    """Returns what a row opens; None if nothing."""

    @property
    def question(self) -> Question:
        """What to ask for."""
        return {"what": "tab", "name": self.name}


def _runs_of_use(row: Row) -> Question:
    return {"what": "runs", "use": [row["use"]], "title": row["use"]}


def _runs_of_owner(row: Row) -> Question:
    owner = f"{row['kind']}:{row['name']}" if row["name"] else row["kind"]
    return {"what": "runs", "owner": [owner], "title": owner}


def _runs_of_process(row: Row) -> Question:
    # An owner of anonymous pages is named after the processes that map them: sh[812] and 1 more.
    title = f"anonymous pages of {row['comm']}[{row['pid']}]"
    return {"what": "runs", "owner": [f"anon:*[{row['pid']}]*"], "title": title}


def page_of_run(row: Row) -> Question:
    """Return the question for the first page of a run."""
    return {"what": "page", "pfn": row["start"], "title": f"page {row['start']}"}


def _nothing(_row: Row) -> None:
    return None


TABS = (
    Tab("Uses", _runs_of_use),
    Tab("Owners", _runs_of_owner),
    Tab("Processes", _runs_of_process),
    Tab("Files", _runs_of_owner),
    Tab("Caches", _runs_of_owner),
    Tab("Frees", _nothing),
)
