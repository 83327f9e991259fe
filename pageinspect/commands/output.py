"""Where -o writes: a file whole or not at all, and what is no regular file as it is."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

from ..errors import PageInspectError

_HINT = "name a file in a folder you may write"


def cannot_write(output: Path, why: str | None) -> PageInspectError:
    """Return the error for an output that cannot be written."""
    return PageInspectError(f"cannot write {output}: {why}", _HINT)


def check_output(output: Path | None) -> None:
    """Raise PageInspectError now, not after long work, when -o cannot be written."""
    if output is None:
        return
    place = output.resolve()
    if place.is_dir():
        raise cannot_write(output, "it is a folder")
    if place.exists() and not place.is_file():
        if not os.access(place, os.W_OK):
            raise cannot_write(output, "permission denied")
    elif not os.access(place.parent, os.W_OK):
        raise cannot_write(output, "its folder is not there, or not yours to write")


@contextlib.contextmanager
def open_output(output: Path) -> Iterator[TextIO]:
    """Open a stream whose content is in `output` when the context ends without an error.

    Links are followed; a device or FIFO is written to as it is. Raises PageInspectError.
    """
    check_output(output)
    place = output.resolve()
    try:
        if place.exists() and not place.is_file():
            with place.open("w", encoding="utf-8") as stream:
                yield stream
            return
        with _replacing(place) as stream:
            yield stream
    except OSError as error:
        raise cannot_write(output, error.strerror) from None


@contextlib.contextmanager
def _replacing(place: Path) -> Iterator[TextIO]:
    with tempfile.NamedTemporaryFile(
        "w", dir=place.parent, prefix=f".{place.name}.", delete=False, encoding="utf-8"
    ) as stream:
        temporary = Path(stream.name)
        try:
            yield cast("TextIO", stream)
            stream.flush()
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.rename(place)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
