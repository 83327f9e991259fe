"""What was asked of a kernel's BTF and symbols before: numbers kept in the user's cache.

Parsing both takes most of a short command's time, and every run asks the same few things of them.
A file belongs to the bytes that were parsed (keys.py); one that others could have written is not
read.
"""

import contextlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import PageInspectError
from ..resources import cache_folder

FORM = 1
"""Of what the files hold; part of their names."""
_KINDS = {"symbols": (0, 4), "types": (0, 1), "offsets": (1,), "enumerators": (0, 2)}
"""How many numbers answers of each kind have."""
_LARGEST = 4 << 20
_MOST_FILES = 64

Numbers = list[int]


@dataclass
class Answers:
    """Numbers by what was asked for; an empty list is that there is no such thing.

    `symbols`: [address, size, binding, kind] by name, without what KASLR adds. `types`: [id] by
    kind and name. `offsets`: [offset in the BTF] by type id. `enumerators`: [id, value] by name.
    """

    path: Path | None = None
    symbols: dict[str, Numbers] = field(default_factory=dict)
    types: dict[str, Numbers] = field(default_factory=dict)
    offsets: dict[str, Numbers] = field(default_factory=dict)
    enumerators: dict[str, Numbers] = field(default_factory=dict)
    learnt: bool = False
    """Something was added that the file does not have."""

    def learn(self, kind: dict[str, Numbers], name: str, numbers: Numbers) -> None:
        """Note an answer."""
        kind[name] = numbers
        self.learnt = True

    def save(self) -> None:
        """Write what was learnt, whole or not at all; a cache that cannot be written is none."""
        if self.path is None or not self.learnt:
            return
        import tempfile

        content = json.dumps({kind: getattr(self, kind) for kind in _KINDS})
        with contextlib.suppress(OSError):
            folder = self.path.parent
            if not _is_own(folder):
                return
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=folder, prefix=".answers.")
            try:
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(content)
                Path(name).rename(self.path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
            self.learnt = False
            _forget_oldest(folder)


def load_answers(key: str | None) -> Answers:
    """Return what is known by this key, nothing for the first time and for None."""
    if key is None:
        return Answers()
    try:
        path = cache_folder() / "answers" / f"{key}-{__version__}-{FORM}.json"
    except PageInspectError:
        # There is no home folder.
        return Answers()
    try:
        document = json.loads(_read_own(path))
        symbols, types, offsets, enumerators = (
            _checked(document[kind], lengths) for kind, lengths in _KINDS.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Answers(path)
    return Answers(path, symbols, types, offsets, enumerators)


def _is_own(folder: Path) -> bool:
    """Return whether a folder is this user's, or would be made in one that is."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return there.stat().st_uid == os.geteuid()


def _forget_oldest(folder: Path) -> None:
    """Remove what was written longest ago: cores that are damaged each have files of their own."""
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[_MOST_FILES:]:
        file.unlink(missing_ok=True)


def _read_own(path: Path) -> str:
    """Return the content of a file that nobody but this user could have written."""
    for place in (path.parent, path):
        found = place.lstat()
        others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if found.st_uid != os.geteuid() or others_write or stat.S_ISLNK(found.st_mode):
            raise OSError
    if path.stat().st_size > _LARGEST:
        raise OSError
    return path.read_text(encoding="ascii")


def _checked(answers: Any, lengths: tuple[int, ...]) -> dict[str, Numbers]:
    for numbers in answers.values():
        whole = all(type(number) is int and -(1 << 63) <= number < 1 << 64 for number in numbers)
        if not whole or len(numbers) not in lengths:
            raise ValueError
    return dict(answers)
