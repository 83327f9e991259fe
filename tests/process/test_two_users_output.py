# SPDX-License-Identifier: GPL-2.0-only
"""Root, beside a user who prepares links where -o writes: nothing is written through them."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from two_users import OTHER, as_other, plant, takes_root
from victims import ROOTS, victim, write

from pageinspect.cli.intervals import open_stream
from pageinspect.cli.output import check_output, open_output
from pageinspect.errors import PageInspectError
from pageinspect.host import files
from pageinspect.host.files import place_of

__all__ = ["victim"]

pytestmark = takes_root


@pytest.mark.parametrize("name", ["link", "folder/victim"])
def test_a_link_that_another_user_planted_is_not_followed(
    shared: Path, victim: Path, name: str
) -> None:
    plant(shared / "link", victim)
    plant(shared / "folder", victim.parent)
    for attempt in (check_output, write):
        with pytest.raises(PageInspectError, match="link that another user made") as caught:
            attempt(shared / name)
        assert caught.value.hint


def test_a_link_in_the_folder_of_another_user_is_not_followed(theirs: Path, victim: Path) -> None:
    plant(theirs / "link", victim)
    with pytest.raises(PageInspectError, match="link that another user made"):
        write(theirs / "link")


def test_links_of_the_user_and_of_root_are_followed(shared: Path, tmp_path: Path) -> None:
    (shared / "link").symlink_to(tmp_path / "report")
    write(shared / "link")
    assert (tmp_path / "report").read_text() == "report"
    target = shared / "theirs"
    (shared / "roots").symlink_to(target)
    as_other(partial(write, shared / "roots"))
    assert target.stat().st_uid == OTHER


def test_a_file_that_grows_is_not_written_through_a_link(shared: Path, victim: Path) -> None:
    plant(shared / "link", victim)
    args = SimpleNamespace(output=shared / "link", interval=1, events=False, mode=None)
    with pytest.raises(PageInspectError, match="link that another user made"), open_stream(args):
        pass


def test_a_file_that_grows_is_not_a_second_name_of_roots(
    shared: Path, place: Path, tmp_path: Path
) -> None:
    # As the other user may where fs.protected_hardlinks is off.
    (place / "roots").write_text(ROOTS)
    (shared / "report").hardlink_to(place / "roots")
    args = SimpleNamespace(output=shared / "report", interval=1, events=False, mode=None)
    with pytest.raises(PageInspectError, match="by another user"), open_stream(args):
        pass
    assert (place / "roots").read_text() == ROOTS


def test_a_fifo_that_another_user_made_gets_nothing(shared: Path) -> None:
    as_other(partial(os.mkfifo, shared / "fifo"))
    # Nobody reads it: opening it would wait for ever.
    with pytest.raises(PageInspectError, match="by another user"):
        write(shared / "fifo")


@pytest.fixture
def in_time() -> Iterator[None]:
    """Ends a test that waits for the reader of a FIFO."""

    def give_up(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("in_time")
def test_a_fifo_that_another_user_makes_meanwhile_is_not_waited_for(theirs: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT
    with place_of(theirs / "report") as place:
        as_other(partial(os.mkfifo, theirs / "report"))
        with pytest.raises(FileExistsError):
            place.open_in_place(flags)
    (theirs / "ours").touch()
    with place_of(theirs / "ours") as place:
        as_other((theirs / "ours").unlink)
        as_other(partial(os.mkfifo, theirs / "ours"))
        with pytest.raises(PageInspectError, match=f"^{theirs}/ours was created by another user"):
            place.open_in_place(flags)


def replace_temporary(folder: Path, target: Path) -> None:
    """Put a link in place of the file that is being written."""
    (path,) = folder.iterdir()
    as_other(path.unlink)
    plant(path, target)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no files without a name, as NFS; the error is that of old kernels."""
    monkeypatch.setattr(files, "_UNNAMED", os.O_RDWR | os.O_DIRECTORY)


def test_a_file_has_no_name_until_it_is_whole(theirs: Path) -> None:
    for text in ("first", "second"):
        before = list(theirs.iterdir())
        with open_output(theirs / "report") as stream:
            stream.write(text)
            assert list(theirs.iterdir()) == before
        assert [path.name for path in theirs.iterdir()] == ["report"]
        assert (theirs / "report").read_text() == text


def test_a_link_in_place_of_the_file_is_replaced(theirs: Path, victim: Path) -> None:
    with open_output(theirs / "report") as stream:
        stream.write("report")
        plant(theirs / "report", victim)
    assert not (theirs / "report").is_symlink()
    assert (theirs / "report").read_text() == "report"


def test_a_link_in_place_of_the_name_on_the_way_is_refused(
    theirs: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def link_and_lose(source: str, name: str, *, dst_dir_fd: int) -> None:
        link(source, name, dst_dir_fd=dst_dir_fd)
        if name != "report":
            as_other((theirs / name).unlink)
            plant(theirs / name, victim)

    write(theirs / "report", "first")
    monkeypatch.setattr(os, "link", link_and_lose)
    with pytest.raises(PageInspectError, match="while it was written"):
        write(theirs / "report", "second")
    assert [path.name for path in theirs.iterdir()] == ["report"]
    assert (theirs / "report").read_text() == "first"


@pytest.mark.usefixtures("named")
def test_a_link_in_place_of_the_temporary_file(theirs: Path, victim: Path) -> None:
    def attempt() -> None:
        with open_output(theirs / "report") as stream:
            stream.write("report")
            replace_temporary(theirs, victim)

    with pytest.raises(PageInspectError, match="while it was written"):
        attempt()


@pytest.mark.usefixtures("named")
def test_the_temporary_file_has_a_name_that_nobody_can_guess(tmp_path: Path) -> None:
    names = set()
    for _ in range(20):
        with open_output(tmp_path / "report"):
            (name,) = {path.name for path in tmp_path.iterdir()} - {"report"}
            names.add(name)
            assert str(os.getpid()) not in name.split(".")
    assert len(names) == 20
