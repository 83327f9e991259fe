# SPDX-License-Identifier: GPL-2.0-only
"""Compiled programs that are kept: read only from one's own files, and only for the same inputs."""

import os
from pathlib import Path

import pytest

from pageinspect.host.files import UntrustedError
from pageinspect.trace import program_cache as module
from pageinspect.trace.bpf_calls import MapShape
from pageinspect.trace.compiled import CompiledProgram
from pageinspect.trace.program_cache import ProgramCache, kept_programs

SOURCE, DEFINES, FUNCTIONS = "page_free.bpf.c", {"ORDERS": "16"}, ["f"]
PROGRAM = CompiledProgram(
    {"f": bytes(range(32))}, {"f": {1: "frees"}}, {"frees": MapShape(6, 4, 128, 260)}, {"t": 9}
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path / "cache"))
    notes = tmp_path / "root/sys/kernel/notes"
    notes.parent.mkdir(parents=True)
    notes.write_bytes(b"build id")
    sources = tmp_path / "bpf"
    sources.mkdir()
    (sources / "page_free.bpf.c").write_text("int f;")
    (sources / "page_free.h").write_text("#define F")
    monkeypatch.setattr(module, "data_folder", lambda _: sources)
    return tmp_path / "cache/programs"


def cache_of(tmp_path: Path, bcc: bytes = b"bcc 1") -> ProgramCache:
    found = ProgramCache.of_this_kernel(bcc, tmp_path / "root")
    assert found is not None
    return found


def load(tmp_path: Path) -> CompiledProgram | None:
    return cache_of(tmp_path).load(SOURCE, DEFINES, FUNCTIONS)


@pytest.fixture
def kept(tmp_path: Path, folder: Path) -> Path:
    """Return the file of the one program that is kept."""
    assert cache_of(tmp_path).is_empty()
    cache_of(tmp_path).save(SOURCE, DEFINES, PROGRAM)
    assert load(tmp_path) == PROGRAM
    assert not cache_of(tmp_path).is_empty()
    (path,) = folder.iterdir()
    return path


def test_it_is_for_this_user_alone(kept: Path) -> None:
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("kept")
def test_other_inputs_are_other_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_of(tmp_path)
    assert cache.load("other.bpf.c", DEFINES, FUNCTIONS) is None
    assert cache.load(SOURCE, {"ORDERS": "8"}, FUNCTIONS) is None
    assert cache.load(SOURCE, DEFINES, ["f", "g"]) is None
    assert cache_of(tmp_path, b"bcc 2").is_empty()
    with monkeypatch.context() as patch:
        patch.setattr(module, "__version__", "0.0")
        assert load(tmp_path) is None
    for name in ("root/sys/kernel/notes", "bpf/page_free.bpf.c", "bpf/page_free.h"):
        text = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(text + b"\n")
        assert cache_of(tmp_path).is_empty()
        assert load(tmp_path) is None
        (tmp_path / name).write_bytes(text)
    assert load(tmp_path) == PROGRAM


def test_a_kernel_without_an_id_has_no_cache(tmp_path: Path) -> None:
    assert ProgramCache.of_this_kernel(b"", tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", '{"digest": ""}', '{"content": {}}', "[" * 5000])
def test_a_file_with_another_text_is_none(tmp_path: Path, kept: Path, text: str) -> None:
    kept.write_text(text)
    assert load(tmp_path) is None


@pytest.mark.parametrize(("before", "after"), [("260", "261"), ("0001", "0002"), ("}", "")])
def test_a_damaged_file_is_none(tmp_path: Path, kept: Path, before: str, after: str) -> None:
    text = kept.read_text()
    assert before in text
    kept.write_text(text.replace(before, after))
    assert load(tmp_path) is None


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_another_user_can_write_is_refused(
    tmp_path: Path, kept: Path, mode: int
) -> None:
    kept.chmod(mode)
    with pytest.raises(UntrustedError, match="another user may have written it"):
        load(tmp_path)


@pytest.mark.parametrize("mode", [0o770, 0o707])
@pytest.mark.parametrize("above", [False, True])
def test_a_folder_that_another_user_can_write_is_refused(
    tmp_path: Path, kept: Path, mode: int, above: bool
) -> None:
    (kept.parent.parent if above else kept.parent).chmod(mode)
    with pytest.raises(UntrustedError, match="others may write"):
        load(tmp_path)
    with pytest.raises(UntrustedError, match="others may write"):
        kept_programs()
    # Nothing is written there, either.
    before = kept.read_bytes()
    cache_of(tmp_path).save(SOURCE, DEFINES, CompiledProgram({"f": b""}, {"f": {}}, {}))
    assert kept.read_bytes() == before
    assert cache_of(tmp_path).is_empty()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_refused(tmp_path: Path, kept: Path) -> None:
    os.chown(kept, 65534, -1)
    with pytest.raises(UntrustedError, match="another user may have written it"):
        load(tmp_path)
    os.chown(kept, 0, -1)
    os.chown(kept.parent, 65534, -1)
    with pytest.raises(UntrustedError, match="belongs to another user"):
        load(tmp_path)


def test_a_link_is_refused_and_replaced(tmp_path: Path, kept: Path) -> None:
    other = tmp_path / "other"
    kept.rename(other)
    kept.symlink_to(other)
    with pytest.raises(UntrustedError, match="is a link"):
        load(tmp_path)
    content = other.read_bytes()
    cache_of(tmp_path).save(SOURCE, DEFINES, PROGRAM)
    assert not kept.is_symlink()
    assert other.read_bytes() == content
    assert load(tmp_path) == PROGRAM


def test_those_used_last_are_kept(tmp_path: Path, kept: Path) -> None:
    cache = cache_of(tmp_path)
    os.utime(kept, (1, 1))
    for number in range(1, module.MOST_FILES):
        cache.save(SOURCE, {"NUMBER": str(number)}, PROGRAM)
    oldest = min(kept.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert oldest == kept
    assert load(tmp_path) == PROGRAM
    cache.save(SOURCE, {"NUMBER": "more"}, PROGRAM)
    assert kept_programs() == module.MOST_FILES
    assert load(tmp_path) == PROGRAM
    assert cache.load(SOURCE, {"NUMBER": "1"}, FUNCTIONS) is None
