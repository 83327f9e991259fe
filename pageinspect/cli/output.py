# SPDX-License-Identifier: GPL-2.0-only
"""Writes the output of -o: a regular file atomically, a device or FIFO directly."""

import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, TextIO, cast, overload

from ..errors import PageInspectError, UsageError
from ..host import files

_HINT = "name a file in a writable folder"


def cannot_write(output: Path, why: str | None) -> PageInspectError:
    """Return the error for an output that cannot be written."""
    return PageInspectError(f"cannot write {output}: {why}", _HINT)


def cannot_write_report(error: OSError) -> PageInspectError:
    """Return the error for a report that cannot be written to standard output."""
    return PageInspectError(
        f"cannot write the report: {error.strerror}",
        "check that the disk is not full; -o FILE writes the whole report or nothing",
    )


class _ReportStream:
    """A stream for a report; a failure to write is a PageInspectError."""

    def __init__(self, stream: TextIO, output: Path | None) -> None:
        self._stream = stream
        self._output = output

    def write(self, text: str) -> int:
        """Write text. Raises PageInspectError, and BrokenPipeError when the reader left."""
        with self._checked():
            return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write lines as they come."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream."""
        with self._checked():
            self._stream.flush()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream.isatty()

    @property
    def buffer(self) -> "_ReportBytes":
        """The binary stream below."""
        return _ReportBytes(self)

    def write_bytes(self, data: bytes) -> int:
        """Write to the binary stream below, as write() does."""
        with self._checked():
            return self._stream.buffer.write(data)

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._stream.fileno()

    @contextlib.contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            if self._output is None:
                raise cannot_write_report(error) from None
            raise cannot_write(self._output, error.strerror) from None


class _ReportBytes(io.RawIOBase):
    """The binary stream below a stream for a report."""

    def __init__(self, stream: _ReportStream) -> None:
        super().__init__()
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._stream.write_bytes(data)

    def flush(self) -> None:
        self._stream.flush()


def report_stream(stream: TextIO, output: Path | None = None) -> TextIO:
    """Return a stream to write a report on: to the file `output`, or to standard output."""
    return cast("TextIO", _ReportStream(stream, output))


def check_output(output: Path | None, mode: int | None = None) -> None:
    """Raise PageInspectError now, not after long work, when the report cannot be written."""
    if output is None:
        if mode is not None:
            raise UsageError("--mode is for a file", "name the file to write: -o FILE")
        if sys.stdout is None:
            raise PageInspectError(
                "standard output is closed", "write the report to a file: -o FILE"
            )
        return
    if str(output) == "-":
        raise UsageError("- is not a file name", "without -o the report goes to standard output")
    try:
        with files.place_of(output) as place:
            _check_place(output, place)
            if mode is not None and not _is_replaced(place):
                raise UsageError(
                    f"--mode is for a file, and {output} is a device, a FIFO or an open file",
                    "omit --mode, or name a regular file",
                )
    except OSError as error:
        raise cannot_write(output, error.strerror) from None


def _check_place(output: Path, place: files.Place) -> None:
    if place.found is not None and stat.S_ISDIR(place.found.st_mode):
        raise cannot_write(output, "it is a folder")
    if _is_replaced(place):
        if not os.access(".", os.W_OK, dir_fd=place.folder):
            raise cannot_write(output, "its folder does not exist, or is not writable")
    elif not os.access(place.name, os.W_OK, dir_fd=place.folder):
        raise cannot_write(output, "permission denied")


def is_same_output(left: Path, right: Path) -> bool:
    """Return whether two paths lead to one name in one folder. Raises OSError."""
    with files.place_of(left) as one, files.place_of(right) as other:
        folders = os.fstat(one.folder), os.fstat(other.folder)
        return one.name == other.name and os.path.samestat(*folders)


def _is_replaced(place: files.Place) -> bool:
    """Whether a new file replaces this one; not for a device, a FIFO or an open file."""
    return place.found is None or (stat.S_ISREG(place.found.st_mode) and not place.is_descriptor)


def discard_buffer(stream: TextIO | None) -> None:
    """Discard what a stream still buffers, because its reader does not read it."""
    # sys.stdout may have been replaced by a stream without a descriptor.
    with contextlib.suppress(io.UnsupportedOperation):
        if stream is not None:
            descriptor = stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


@overload
def open_output(
    output: Path, *, binary: Literal[False] = False, mode: int | None = None
) -> contextlib.AbstractContextManager[TextIO]: ...


@overload
def open_output(
    output: Path, *, binary: Literal[True], mode: int | None = None
) -> contextlib.AbstractContextManager[IO[bytes]]: ...


@contextlib.contextmanager
def open_output(output: Path, *, binary: bool = False, mode: int | None = None) -> Iterator[Any]:
    """Open a stream whose content is in `output` when the context ends without an error.

    Links are followed by the rules of host/files.py; a device or FIFO is written in place. A file
    gets `mode`, or what the umask leaves. Raises PageInspectError.
    """
    check_output(output, mode)
    try:
        with files.place_of(output) as place, contextlib.ExitStack() as stack:
            if _is_replaced(place):
                raw = stack.enter_context(files.replacing(place.folder, place.name, mode=mode))
            else:
                raw = stack.enter_context(os.fdopen(place.open_in_place(os.O_WRONLY), "wb"))
            yield raw if binary else stack.enter_context(_as_text(raw))
    except BrokenPipeError:
        # The reader of a FIFO, or of /dev/stdout, left.
        raise
    except OSError as error:
        raise cannot_write(output, error.strerror) from None


@contextlib.contextmanager
def _as_text(raw: IO[bytes]) -> Iterator[TextIO]:
    text = io.TextIOWrapper(raw, encoding="utf-8")
    yield text
    text.flush()
    text.detach()


def open_growing(output: Path, mode: int | None = None) -> TextIO:
    """Open a file that others read while it is written. Raises PageInspectError."""
    try:
        with files.place_of(output) as place:
            descriptor = place.open_in_place(os.O_WRONLY | os.O_CREAT)
        stream = os.fdopen(descriptor, "w", encoding="utf-8")
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, 0)
            if mode is not None:
                os.fchmod(descriptor, mode)
    except OSError as error:
        raise cannot_write(output, error.strerror) from None
    return stream
