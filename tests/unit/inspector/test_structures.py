# SPDX-License-Identifier: GPL-2.0-only
"""How the structures of owners are read: what is missing, damaged, or changes while it is read."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from drgn import FaultError
from kernel_by_hand import Kernel
from synthetic import MODERN

from pageinspect.inspector import structures
from pageinspect.inspector.inspector import Inspector
from pageinspect.inspector.structures import STRUCTURE_NAMES, read_structures
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.kernel_memory import BootReserved, Modules, VmapArea, VmapAreas
from pageinspect.model.owner_memory import PageTablePages
from pageinspect.model.processes import Tasks
from pageinspect.owners.structures import Structures


def inspector(*, changing: bool = False) -> Inspector:
    kernel = Kernel()
    kernel.symbols({"execmem_alloc": (0x1000, 64)})
    made = SimpleNamespace(
        target=SimpleNamespace(
            prog=kernel.prog, vmcoreinfo={}, provenance=SimpleNamespace(changing=changing)
        ),
        layout=MODERN,
        memory_map=SimpleNamespace(spanned=((0, 0x8000),)),
    )
    return cast("Inspector", made)


def give(monkeypatch: pytest.MonkeyPatch, reader: str, *results: Any) -> list[None]:
    """Let a reader return these results one after the other; returns its calls."""
    left = iter(results)
    calls: list[None] = []

    def read(*_: Any) -> Any:
        calls.append(None)
        result = next(left)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(structures, reader, read)
    return calls


def test_a_kernel_that_lacks_everything_is_reported_field_by_field() -> None:
    found, problems = read_structures(inspector(), STRUCTURE_NAMES)
    assert {name for name in STRUCTURE_NAMES if getattr(found, name)} == {"tasks"}
    assert len(problems) >= len(STRUCTURE_NAMES) - 1
    assert any(
        problem.startswith("vmalloc areas: this kernel has no known") for problem in problems
    )


def test_only_wanted_fields_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    boot = BootReserved(((1, 2),))
    give(monkeypatch, "read_boot_reserved", boot)
    assert read_structures(inspector(), ["boot"]) == (Structures(boot=boot), ())


def test_damaged_structures_are_used_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = Tasks((), (), (), (), 2, lacks=("stacks",))
    give(monkeypatch, "read_tasks", tasks)
    give(monkeypatch, "read_modules", Modules(whole=False))
    found, problems = read_structures(inspector(), ["tasks", "modules"])
    assert (found.tasks, found.modules) == (tasks, Modules(whole=False))
    why = "it is damaged, or the core lacks a part of it"
    assert sorted(problems) == [
        f"modules: a list was not followed to its end: {why}",
        "tasks: 2 items could not be read, or are invalid",
        "tasks: this kernel lacks stacks",
    ]


def test_a_list_that_changes_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    torn, whole = Modules(whole=False), Modules()
    calls = give(monkeypatch, "read_modules", torn, torn, whole)
    assert read_structures(inspector(changing=True), ["modules"]) == (Structures(modules=whole), ())
    assert len(calls) == 3
    calls = give(monkeypatch, "read_modules", torn, torn, torn, torn, whole)
    found, problems = read_structures(inspector(changing=True), ["modules"])
    assert (found.modules, len(calls)) == (torn, 4)
    text = "a list was not followed to its end: it changed in each of 4 readings, or is damaged"
    assert problems == (f"modules: {text}",)
    calls = give(monkeypatch, "read_modules", torn, whole)
    assert read_structures(inspector(), ["modules"])[0].modules == torn
    assert len(calls) == 1


def test_a_pointer_that_changes_is_followed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fault, whole = FaultError("not mapped", 0x10), Modules()
    calls = give(monkeypatch, "read_modules", fault, Modules(whole=False), fault, whole)
    assert read_structures(inspector(changing=True), ["modules"]) == (Structures(modules=whole), ())
    assert len(calls) == 4
    calls = give(monkeypatch, "read_modules", *[fault] * 5)
    found, (problem,) = read_structures(inspector(changing=True), ["modules"])
    assert (found.modules, len(calls)) == (None, 4)
    assert problem.startswith("modules: not mapped")
    calls = give(monkeypatch, "read_modules", fault, whole)
    assert read_structures(inspector(), ["modules"])[0].modules is None
    assert len(calls) == 1


def test_page_tables_that_cannot_be_followed_are_read_of_the_tasks_of_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = Tasks((), (), (), (), 0, lacks=("what has ended",))
    left = Tasks((), (), (), (), 0)
    torn, whole = PageTablePages(whole=False, unreadable=1), PageTablePages()
    give(monkeypatch, "read_tasks", ended, left)
    monkeypatch.setattr(
        structures, "read_page_table_pages", lambda *args: whole if args[3] is left else torn
    )
    found = read_structures(inspector(changing=True), ["tasks", "tables"])
    assert found == (Structures(tasks=left, tables=whole), ())


def test_what_disappears_when_it_is_read_again_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: Any) -> Any:
        raise MissingStructureError("no list", "hint")

    monkeypatch.setattr(structures, "read_modules", read)
    found, problems = read_structures(inspector(changing=True), ["modules"])
    assert (found.modules, problems) == (None, ("modules: no list",))


def test_each_caller_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    areas = tuple(
        VmapArea(0, 0, 0, caller, 0, np.empty(0, np.int64)) for caller in (0x1008, 0, 0x1008, 0x20)
    )
    give(monkeypatch, "read_vmap_areas", VmapAreas(areas))
    give(monkeypatch, "read_modules", Modules())
    found, problems = read_structures(inspector(), ["vmap", "callers"])
    assert found.callers == {0x1008: "execmem_alloc", 0x20: "0x20"}
    assert problems == ()
