"""Where -o writes: a file whole or not at all, and what is no regular file as it is."""

import contextlib
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, TextIO, cast, overload

from ..errors import PageInspectError, UsageError

_HINT = "name a file in a folder you may write"


def cannot_write(output: Path, why: str | None) -> PageInspectError:
    """Return the error for an output that cannot be written."""
    return PageInspectError(f"cannot write {output}: {why}", _HINT)


def cannot_write_report(error: OSError) -> PageInspectError:
    """Return the error for a report that standard output does not take."""
    return PageInspectError(
        f"cannot write the report: {error.strerror}",
        "is the disk full? -o FILE writes it whole or not at all",
    )


class _ReportStream:
    """A stream for a report; a failure to write is a PageInspectError, so that it is no other."""

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
        """Have the reader get what was written."""
        with self._checked():
            self._stream.flush()

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


def report_stream(stream: TextIO, output: Path | None = None) -> TextIO:
    """Return a stream to write a report on: to the file `output`, or to standard output."""
    return cast("TextIO", _ReportStream(stream, output))


def check_output(output: Path | None) -> None:
    """Raise PageInspectError now, not after long work, when the report cannot be written."""
    if output is None:
        if sys.stdout is None:
            raise PageInspectError(
                "standard output is closed", "write the report to a file: -o FILE"
            )
        return
    if str(output) == "-":
        raise UsageError("- is no name for a file", "the report goes to standard output without -o")
    place = output.resolve()
    if place.is_dir():
        raise cannot_write(output, "it is a folder")
    if place.exists() and not place.is_file():
        if not os.access(place, os.W_OK):
            raise cannot_write(output, "permission denied")
    elif not os.access(place.parent, os.W_OK):
        raise cannot_write(output, "its folder is not there, or not yours to write")


def forget(stream: TextIO | None) -> None:
    """See that what a stream still holds can be written: nowhere, if nobody takes it."""
    # Scripts may have put a stream without a descriptor in the place of stdout.
    with contextlib.suppress(io.UnsupportedOperation):
        if stream is not None:
            descriptor = stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


@overload
def open_output(
    output: Path, *, binary: Literal[False] = False
) -> contextlib.AbstractContextManager[TextIO]: ...


@overload
def open_output(
    output: Path, *, binary: Literal[True]
) -> contextlib.AbstractContextManager[IO[bytes]]: ...


@contextlib.contextmanager
def open_output(output: Path, *, binary: bool = False) -> Iterator[Any]:
    """Open a stream whose content is in `output` when the context ends without an error.

    Links are followed; a device or FIFO is written to as it is. Raises PageInspectError.
    """
    check_output(output)
    place = output.resolve()
    mode, encoding = ("wb", None) if binary else ("w", "utf-8")
    try:
        if place.exists() and not place.is_file():
            with place.open(mode, encoding=encoding) as stream:
                yield stream
            return
        with _replacing(place, mode, encoding) as stream:
            yield stream
    except OSError as error:
        raise cannot_write(output, error.strerror) from None


@contextlib.contextmanager
def _replacing(place: Path, mode: str, encoding: str | None) -> Iterator[Any]:
    import tempfile

    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, mode, encoding=encoding) as stream:
            yield stream
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.rename(place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
