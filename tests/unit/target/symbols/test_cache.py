# SPDX-License-Identifier: GPL-2.0-only
"""What was asked before is answered without parsing, and from no file but one's own."""

import contextlib
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from btf_builder import small
from drgn import Program

from pageinspect.cli.options import save_symbol_caches
from pageinspect.errors import PageInspectError
from pageinspect.model.provenance import Provenance
from pageinspect.target.open import Target
from pageinspect.target.symbols.btf import Btf, BtfError, BtfKind
from pageinspect.target.symbols.cache import SymbolCache, load_cache

BUILD_ID = "1fe9968467f2"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path))
    return tmp_path / "symbols"


def asked(btf: Btf) -> list[Any]:
    page = btf.find(BtfKind.STRUCT, "page")
    assert page is not None
    flags = btf.find_enumerator("PG_head")
    return [
        page,
        btf.members(btf.record(page)),
        flags,
        btf.find(BtfKind.UNION, "page"),
        btf.find_enumerator("PG_none"),
        btf.record(1).name,
    ]


def test_the_second_time_nothing_is_parsed() -> None:
    data = small().build()
    symbol_cache = load_cache(BUILD_ID)
    first = asked(Btf(data, symbol_cache))
    symbol_cache.save()
    known = load_cache(BUILD_ID)
    again = Btf(data, known)
    assert asked(again) == first == asked(Btf(data))
    assert "_index" not in vars(again)
    assert not known.changed
    # What was not asked before is found all the same, and learnt.
    assert again.find(BtfKind.TYPEDEF, "page_t") == Btf(data).find(BtfKind.TYPEDEF, "page_t")
    assert "_index" in vars(again)
    assert known.changed


def test_an_offset_beyond_the_types_is_not_believed() -> None:
    data = small().build()
    known = SymbolCache(types={"4 page": [4]}, offsets={"4": [1 << 40], "99": [1 << 40]})
    btf = Btf(data, known)
    assert btf.record(4) == Btf(data).record(4)
    with pytest.raises(BtfError, match="no type 99"):
        btf.record(99)


def saved(cache: Path) -> Path:
    symbol_cache = load_cache(BUILD_ID)
    symbol_cache.add(symbol_cache.types, "4 page", [7])
    symbol_cache.save()
    (path,) = cache.iterdir()
    assert load_cache(BUILD_ID).types == {"4 page": [7]}
    return path


def test_only_ones_own_file_is_read(cache: Path) -> None:
    path = saved(cache)
    for place in (path, cache):
        mode = place.stat().st_mode
        for more in (0o020, 0o002):
            place.chmod(mode | more)
            assert load_cache(BUILD_ID).types == {}
        place.chmod(mode)
    assert load_cache(BUILD_ID).types
    real = path.rename(cache / "real")
    path.symlink_to(real)
    assert load_cache(BUILD_ID).types == {}
    path.unlink()
    real.rename(path)
    assert load_cache(BUILD_ID).types


@pytest.mark.parametrize(
    "change",
    [
        lambda _document: [],
        lambda _document: {},
        lambda document: document | {"types": []},
        lambda document: document | {"types": {"4 page": 7}},
        lambda document: document | {"types": {"4 page": ["7"]}},
        lambda document: document | {"types": {"4 page": [True]}},
        lambda document: document | {"types": {"4 page": [7, 8]}},
        lambda document: document | {"offsets": {"4": []}},
        lambda document: document | {"symbols": {"a": [1 << 64, 0, 0, 0]}},
        lambda document: document | {"symbols": {"a": [-1, 0, 0, 0]}},
        lambda document: document | {"symbols": {"a": [0, -1, 0, 0]}},
        lambda document: document | {"symbols": {"a": [0, 0, 5, 0]}},
        lambda document: document | {"symbols": {"a": [0, 0, 0, 16]}},
        lambda document: document | {"addresses": {"a": ["_stext"]}},
        lambda document: document | {"addresses": {"a": ["_stext", [0]]}},
        lambda document: document | {"addresses": {"a": ["_stext", [0, 0, 0, 16]]}},
        lambda document: document | {"addresses": {"a": [7, [0, 0, 0, 0]]}},
    ],
)
def test_what_is_not_an_answer_is_not_used(cache: Path, change: Any) -> None:
    path = saved(cache)
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="ascii")))), "ascii")
    assert load_cache(BUILD_ID).types == {}
    for damage in (b"\xff", b"[" * 100_000):
        path.write_bytes(damage)
        assert load_cache(BUILD_ID).types == {}


def test_each_key_has_its_own(cache: Path) -> None:
    saved(cache)
    assert load_cache("other").types == {}
    assert load_cache(None).path is None


def test_a_cache_that_cannot_be_written_is_not_used(cache: Path) -> None:
    cache.write_bytes(b"")
    symbol_cache = load_cache(BUILD_ID)
    symbol_cache.add(symbol_cache.types, "4 page", [7])
    symbol_cache.save()
    assert cache.read_bytes() == b""


def test_old_files_are_removed(cache: Path) -> None:
    for i in range(70):
        symbol_cache = load_cache(f"{BUILD_ID}{i}")
        symbol_cache.add(symbol_cache.types, "4 page", [i])
        symbol_cache.save()
        assert symbol_cache.path is not None
        os.utime(symbol_cache.path, (i, i))
    assert len(list(cache.iterdir())) == 64
    assert load_cache(f"{BUILD_ID}5").types == {}
    assert load_cache(f"{BUILD_ID}69").types == {"4 page": [69]}


def test_a_command_that_fails_keeps_nothing(cache: Path) -> None:
    symbol_cache = load_cache(BUILD_ID)
    symbol_cache.add(symbol_cache.types, "4 page", [7])
    target = Target(Program(), Provenance("6.12", "core", "btf"), {}, (symbol_cache,))
    with contextlib.suppress(PageInspectError), contextlib.ExitStack() as ends:
        ends.push(partial(save_symbol_caches, target, None))
        raise PageInspectError("no", "hint")
    assert not cache.exists()
    with contextlib.ExitStack() as ends:
        ends.push(partial(save_symbol_caches, target, None))
    assert load_cache(BUILD_ID).types == {"4 page": [7]}
