# SPDX-License-Identifier: GPL-2.0-only
"""A public class has a name of its own in the whole package."""

import ast
from collections import defaultdict

from places import ROOT


def test_no_two_classes_have_the_same_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "pageinspect").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert len(places) > 150
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
