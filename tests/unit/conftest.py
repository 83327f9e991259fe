"""Makes the helper modules beside the unit tests importable; no enumeration may meet numpy."""

import sys
from collections.abc import Iterator
from enum import EnumType
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def met_numpy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fail a test in which numpy asks an enumeration whether it is an array: see Reading."""
    met: list[str] = []
    look_up = getattr(EnumType, "__getattr__", None)

    def asked(enumeration: EnumType, name: str) -> object:
        if name.startswith("__array"):
            met.append(f"{enumeration.__name__}.{name}")
        # Python 3.12's enumerations have none.
        if look_up is None:
            raise AttributeError(name)
        return look_up(enumeration, name)

    monkeypatch.setattr(EnumType, "__getattr__", asked, raising=False)
    yield met
    assert not met, "an IntEnum was compared with an array, or filled one"
