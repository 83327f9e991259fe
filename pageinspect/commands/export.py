"""Write what /proc/kpageflags and /proc/kpagecount would say, from a core or this kernel.

The files have the bytes, and the length, that the kernel itself would give: an unsigned 64-bit
number for each pfn from 0 on. The kernel's page-types tool reads them: page-types -F FILE.
Struct pages that cannot be read have KPF_NOPAGE and count 0; they are counted on stderr.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from ..errors import Exit, PageInspectError, UsageError
from .options import add_target_arguments, open_target
from .walking import walked

if TYPE_CHECKING:
    from ..survey import Survey

NAME = "export"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_target_arguments(parser)
    group = parser.add_argument_group("files (one at least; written whole or not at all)")
    group.add_argument(
        "--kpageflags", type=Path, metavar="FILE", help="write FILE as /proc/kpageflags has it"
    )
    group.add_argument(
        "--kpagecount", type=Path, metavar="FILE", help="write FILE as /proc/kpagecount has it"
    )


def run(args: argparse.Namespace) -> int:
    """Write the files."""
    from .. import survey

    paths: list[Path | None] = [args.kpageflags, args.kpagecount]
    named = [path for path in paths if path is not None]
    if not named:
        raise UsageError("nothing to write", "give --kpageflags FILE, --kpagecount FILE or both")
    if len(named) == 2 and named[0].resolve() == named[1].resolve():
        raise UsageError("both files have one name", "give each of them a name of its own")
    opened = survey.survey(open_target(args))
    with contextlib.ExitStack() as stack:
        kept = [None if path is None else stack.enter_context(_Whole(path)) for path in paths]
        unreadable = _write(opened, kept[0], kept[1])
        for whole in filter(None, kept):
            whole.keep()
    if unreadable:
        pages = "struct page" if unreadable == 1 else "struct pages"
        sys.stderr.write(f"{unreadable} {pages} could not be read: KPF_NOPAGE, count 0\n")
    return int(Exit.INCOMPLETE if unreadable else Exit.COMPLETE)


def _write(opened: "Survey", flags: "_Whole | None", counts: "_Whole | None") -> int:
    """Write what is asked for and return how many struct pages could not be read."""
    from .. import kpageflags
    from ..ranges import intersect

    prog, census = opened.target.prog, opened.census
    end = kpageflags.length(census)
    rules = kpageflags.build_rules(prog, opened.layout)
    online = kpageflags.find_online(prog, end)
    wanted = intersect(online.ranges, [(0, end)])
    unreadable = 0
    for piece in kpageflags.pieces(rules, online, end, walked(opened, wanted)):
        if flags is not None:
            flags.write(piece.flags.tobytes())
        if counts is not None:
            counts.write(piece.counts.tobytes())
        unreadable += piece.unreadable
    return unreadable


class _Whole:
    """A file that appears under its name only once it is whole, as a context manager.

    Its methods raise PageInspectError when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary: Path | None = None
        self._stream: IO[bytes]

    def __enter__(self) -> Self:
        with self._errors():
            descriptor, name = tempfile.mkstemp(
                dir=self._path.parent, prefix=f".{self._path.name}."
            )
            self._temporary = Path(name)
            self._stream = os.fdopen(descriptor, "wb")
        return self

    def __exit__(self, *_: object) -> None:
        # What a full disk did not take is written again on close, and refused again.
        with contextlib.suppress(OSError):
            self._stream.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append to the file."""
        with self._errors():
            self._stream.write(data)

    def keep(self) -> None:
        """Give the file its name, and the mode that any new file has."""
        if self._temporary is None:
            return
        with self._errors():
            self._stream.close()
            umask = os.umask(0)
            os.umask(umask)
            self._temporary.chmod(0o666 & ~umask)
            self._temporary.rename(self._path)
            self._temporary = None

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PageInspectError(
                f"cannot write {self._path}: {error.strerror}",
                "name a file in a folder you may write, with room for 8 bytes a page",
            ) from None
