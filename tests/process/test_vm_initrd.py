# SPDX-License-Identifier: GPL-2.0-only
"""The modules in an initrd, unpacked by cpio."""

import gzip
import lzma
import subprocess
from pathlib import Path

import pytest

from pageinspect.vm import initrd
from pageinspect.vm.catalogue import InitrdRecipe


@pytest.mark.skipif(not Path("/usr/bin/cpio").exists(), reason="needs cpio")
@pytest.mark.skipif(not Path("/usr/bin/zstd").exists(), reason="needs zstd")
def test_modules_are_packed_plain_in_load_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = tmp_path / "modules"
    (modules / "kernel").mkdir(parents=True)
    (modules / "kernel/a.ko.xz").write_bytes(lzma.compress(b"AAA"))
    (modules / "kernel/b.ko.gz").write_bytes(gzip.compress(b"BBB"))
    (modules / "kernel/c.ko").write_bytes(b"CCC")
    subprocess.run(["zstd", "-q", "-o", modules / "kernel/d.ko.zst"], input=b"DDD", check=True)
    (modules / "modules.dep").write_text(
        "kernel/a.ko.xz: kernel/b.ko.gz kernel/d.ko.zst kernel/c.ko\n"
        "kernel/b.ko.gz:\nkernel/c.ko:\nkernel/d.ko.zst:\n"
    )
    monkeypatch.setattr("pageinspect.vm.catalogue.initrd_recipe", lambda: InitrdRecipe(("a",), ()))
    initrd.pack_modules(modules, tmp_path, tmp_path / "out.cpio")
    out = tmp_path / "unpacked"
    out.mkdir()
    with (tmp_path / "out.cpio").open("rb") as archive:
        subprocess.run(["cpio", "-idm", "--quiet"], stdin=archive, cwd=out, check=True)
    found = {path.name: path.read_bytes() for path in (out / "modules").iterdir()}
    assert found == {"00-c.ko": b"CCC", "01-d.ko": b"DDD", "02-b.ko": b"BBB", "03-a.ko": b"AAA"}
