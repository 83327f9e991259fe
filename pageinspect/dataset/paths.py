# SPDX-License-Identifier: GPL-2.0-only
"""Names of folders and files in a dataset. All other names are foreign, and are ignored."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

from ..errors import PageInspectError

PART = "part.parquet"
"""The file of one table of one snapshot."""
MARK = ".pageinspect"
"""The file of a dataset that writers lock."""

_LONGEST = 255
"""Bytes of a file name in Linux, NAME_MAX."""
_TIME_FOLDER = re.compile(r"time=((\d{8})T(?:[01]\d|2[0-3])[0-5]\d[0-5]\dZ)", re.ASCII)
_TABLE = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_DAY = re.compile(r"day=(\d{8})", re.ASCII)
_GENERATION = re.compile(r"(\d{6,18})\.parquet", re.ASCII)
_BEGINNING = re.compile(
    r"(\d{4}-\d\d(?:-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d)?)?)?)?|\d{4,8}|\d{8}T\d{0,6})Z?", re.ASCII
)
_US = 1_000_000


def clean(text: str) -> str:
    r"""Return untrusted text as text that UTF-8 can encode: a lone surrogate becomes "\udc80"."""
    return text.encode("utf-8", "backslashreplace").decode()


def time_of(seconds: float) -> str:
    """Return the time of a snapshot, 20261127T201500Z, from seconds since 1970.

    Raises ValueError for a time after the year 9999.
    """
    try:
        moment = datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(str(error)) from None
    return moment.strftime("%Y%m%dT%H%M%SZ")


def microseconds(time: str) -> int:
    """Return microseconds since 1970 of a time such as 20261127T201500Z; else raise ValueError."""
    time_folder(time)
    moment = datetime.strptime(f"{time[:15]}+0000", "%Y%m%dT%H%M%S%z")
    return int(moment.timestamp()) * _US


def is_time(text: str) -> bool:
    """Return whether a text is a time such as 20261127T201500Z."""
    return time_in(f"time={text}") is not None


def beginning_of(text: str) -> str | None:
    """Return what the times begin with that a text means, such as 20261127T2015; None for others.

    It may be the beginning of a time such as 20261127T201500Z or 2026-11-27T20:15:00 (UTC), or a
    whole time in another form of ISO 8601, such as 2026-11-27T21:15:00+01:00.
    """
    found = _BEGINNING.fullmatch(text)
    if found is not None:
        return found[1].replace("-", "").replace(":", "").replace(" ", "T")
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment.strftime("%Y%m%dT%H%M%S")


def first_time(text: str) -> str | None:
    """Return the first time such as 20261127T201500Z that a text means, as beginning_of() does."""
    beginning = beginning_of(text)
    time = f"{beginning}{'00010101T000000Z'[len(beginning) :]}" if beginning else ""
    return time if is_time(time) else None


def time_folder(time: str) -> str:
    """Return the name of the folder of a time. Raises ValueError if it is not one."""
    if not is_time(time):
        raise ValueError(f"not a time as 20261127T201500Z: {time!r}")
    return f"time={time}"


def time_in(folder: str) -> str | None:
    """Return the time of a folder, or None for a foreign name."""
    found = _TIME_FOLDER.fullmatch(folder)
    return found[1] if found is not None and _is_day(found[2]) else None


@lru_cache(maxsize=1024)
def _is_day(digits: str) -> bool:
    try:
        datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:]), tzinfo=UTC)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def host_folder(host: str) -> str:
    """Return the name of the folder of a host, percent-encoded as DuckDB encodes names.

    Raises PageInspectError if the file system has no names of that length.
    """
    name = f"host={quote(clean(host), safe='')}"
    if len(name) > _LONGEST:
        raise PageInspectError(
            f"the name of the host has {len(name) - len('host=')} bytes as the name of a folder, "
            f"and {_LONGEST - len('host=')} are the most",
            "choose a shorter name: --host NAME",
        )
    return name


def host_in(folder: str) -> str | None:
    """Return the host of a folder, or None for a foreign name."""
    if not folder.startswith("host="):
        return None
    host = unquote(folder.removeprefix("host="), errors="replace")
    return host if f"host={quote(host, safe='')}" == folder else None


def day_folder(day: str) -> str:
    """Return the name of the folder of a day, 20261127."""
    return f"day={day}"


def day_in(folder: str) -> str | None:
    """Return the day of a folder, or None for a foreign name."""
    found = _DAY.fullmatch(folder)
    return found[1] if found is not None and _is_day(found[1]) else None


def generation_file(generation: int) -> str:
    """Return the name of the file of all hosts of a day. Later generations replace earlier ones."""
    return f"{generation:06}.parquet"


def generation_in(file: str) -> int | None:
    """Return the generation of a file of a day, or None for a foreign name."""
    found = _GENERATION.fullmatch(file)
    return None if found is None else int(found[1])


def is_table(name: str) -> bool:
    """Return whether a folder of this name may be a table, of this version or a later one."""
    return _TABLE.fullmatch(name) is not None


def part_of(dataset: Path, table: str, host: str, time: str) -> Path:
    """Return the path of a table of one snapshot. Raises ValueError and PageInspectError."""
    return Path(f"{dataset}/{table}/{host_folder(host)}/{time_folder(time)}/{PART}")


def day_file(dataset: Path, table: str, day: str, generation: int) -> Path:
    """Return the path of a table of a day."""
    return dataset / table / day_folder(day) / generation_file(generation)
