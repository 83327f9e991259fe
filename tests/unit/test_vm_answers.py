import json
import os
from pathlib import Path

import pytest

from pageinspect.vm import answers


def disk_of(folder: Path, content: bytes) -> int:
    path = folder / "disk"
    path.write_bytes(content)
    return os.open(path, os.O_RDONLY)


def test_what_the_guest_left_becomes_files_of_its_length(tmp_path: Path) -> None:
    index, at, data = {}, 4096, b""
    for number, name in enumerate(answers.NAMES):
        content = name.encode() * (number * 100_000)
        index[name] = [at + len(data), len(content)]
        data += content + b"\0" * (-len(content) % 4096)
    disk = disk_of(tmp_path, json.dumps(index).encode().ljust(4096) + data + b"\0" * 8192)
    answers.unpack(disk, tmp_path / "said")
    os.close(disk)
    for number, name in enumerate(answers.NAMES):
        assert (tmp_path / "said" / name).read_bytes() == name.encode() * (number * 100_000)


def test_a_disk_that_the_guest_did_not_write(tmp_path: Path) -> None:
    disk = disk_of(tmp_path, bytes(8192))
    with pytest.raises(answers.NoAnswersError):
        answers.unpack(disk, tmp_path / "said")
    os.close(disk)
    assert not (tmp_path / "said").exists()
