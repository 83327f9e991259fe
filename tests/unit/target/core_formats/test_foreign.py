# SPDX-License-Identifier: GPL-2.0-only
"""Files that people take for cores: each is named, with what to do about it."""

import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from bz2 import compress as bzip2
from pathlib import Path

import cramjam
import pytest

from pageinspect.errors import PageInspectError
from pageinspect.target import core_formats
from pageinspect.target.core_formats.foreign import MAGICS


def archive(kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("core"))
    else:
        with zipfile.ZipFile(out, "w") as zipped:
            zipped.writestr("core", b"\x7fELF")
    return out.getvalue()


def kdump(machine: bytes) -> bytes:
    names = (b"Linux", b"host", b"6.12", b"#1", machine)
    return b"KDUMP   " + struct.pack("<i", 6) + b"".join(name.ljust(65, b"\0") for name in names)


def elf(kind: int, machine: int, *, big: bool = False) -> bytes:
    ident = b"\x7fELF\2" + (b"\2" if big else b"\1")
    return ident.ljust(16, b"\0") + struct.pack(">HH" if big else "<HH", kind, machine)


CASES = [
    (gzip.compress(b"core"), "compressed with gzip", "gzip -d"),
    (lzma.compress(b"core"), "compressed with xz", "xz -d"),
    (lzma.compress(b"core", lzma.FORMAT_ALONE), "compressed with lzma", "xz -d"),
    (bzip2(b"core"), "compressed with bzip2", "bzip2 -d"),
    (bytes(cramjam.zstd.compress(b"core")), "compressed with zstd", "zstd -d"),
    (bytes(cramjam.lz4.compress(b"core")), "compressed with lz4", "lz4 -d"),
    (bytes(cramjam.snappy.compress(b"core")), "compressed with snappy", "unpack it"),
    (archive("tar"), "tar archive", "tar -x"),
    (archive("zip"), "zip archive", "unzip"),
    (b"QEVM\0\0\0\3", "migration stream of QEMU", "virsh dump --memory-only"),
    (b"LibvirtQemudSave\2", "virsh save", "virsh dump --memory-only"),
    (b"PAGEDU64", "crash dump of Windows", "Linux"),
    (b"\xd2\xbe\xd2\xbe\x08", "VMware", "vmss2core"),
    (bytes(4086) + b"S1SUSPEND", "hibernation image", "kdump"),
    (bytes(9999), "begins with zeros", "virsh dump --memory-only"),
    (b"", "is empty", "disk full"),
    (elf(4, 183), "is of aarch64", "x86_64 kernels only"),
    (elf(4, 21, big=True), "is of ppc64", "x86_64 kernels only"),
    (elf(4, 3), "is of i386", "x86_64 kernels only"),
    (elf(4, 9999), "is of ELF machine 9999", "x86_64 kernels only"),
    (elf(2, 62), "a program or a vmlinux, not a core", "-s"),
    (elf(1, 62), "an object file or a module, not a core", "a kernel core"),
    (kdump(b"aarch64"), "is of aarch64", "x86_64 kernels only"),
    (kdump(b"ppc64le"), "is of ppc64le", "x86_64 kernels only"),
]


@pytest.mark.parametrize(("content", "what", "hint"), CASES, ids=[case[1] for case in CASES])
def test_what_it_is_and_what_to_do(tmp_path: Path, content: bytes, what: str, hint: str) -> None:
    path = tmp_path / "core"
    path.write_bytes(content.ljust(9999, b"\0") if content else b"")
    with pytest.raises(PageInspectError) as error:
        core_formats.prepare(path)
    assert what in error.value.message
    assert hint in error.value.hint


def test_no_kind_hides_another() -> None:
    for offset, magic, what, _ in MAGICS:
        start = (bytes(offset) + magic).ljust(9999, b"\0")
        first = next(w for at, m, w, _ in MAGICS if start[at : at + len(m)] == m)
        assert first == what
