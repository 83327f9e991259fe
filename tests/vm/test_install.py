# SPDX-License-Identifier: GPL-2.0-only
"""`sudo make install`, as README has it, in bare roots of Debian: no guest, but minutes of apt."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT

from pageinspect.vm import debian

SOURCE = "/usr/src/pageinspect"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PASSED = ("PATH", "PIP_DEFAULT_TIMEOUT")
TAKEN = (
    "LICENSE", "Makefile", "README.md", "pyproject.toml", "pageinspect", "bpf", "vm-images",
    "packaging",
)  # fmt: skip
# sudo alone has the PATH that sudo gives.
STEPS = f"""
set -eux
cd {SOURCE}
sudo make install
cd /
pageinspect --version
sudo pageinspect --version
sudo pageinspect vm list
test -s /usr/local/share/man/man1/pageinspect.1
test -s /usr/local/share/bash-completion/completions/pageinspect
/opt/pageinspect/bin/python -c '
from pageinspect.trace.find_bcc import find_bcc, load_bcc
assert load_bcc(find_bcc()).BPF
'
! /opt/pageinspect/bin/python -c 'import hypothesis'
cd {SOURCE}
sudo make install
sudo make uninstall
test ! -e /opt/pageinspect
test ! -e /usr/local/bin/pageinspect
test ! -L /usr/local/share/man/man1/pageinspect.1
test -z "$(find {SOURCE} -newer /started -name '*.egg-info' -o -newer /started -name build)"
"""


@pytest.mark.whole
@pytest.mark.skipif(os.geteuid() != 0, reason="makes a root, and mounts in it")
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_the_install_lines_of_readme_in_a_bare_root(suite: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in TAKEN:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        source.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    (tmp_path / "steps").write_text(STEPS)
    hooks = [
        f'mkdir -p "$1{SOURCE}" && cp -r {source}/. "$1{SOURCE}" && touch "$1/started"',
        f'cp {tmp_path}/steps "$1/steps"',
        # Of a network that reads along: what this machine trusts.
        f'if [ -e {CERTIFICATES} ]; then cp -L {CERTIFICATES} "$1{CERTIFICATES}"; fi',
        'chroot "$1" sh /steps',
    ]
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "mmdebstrap"]
    command += ["--variant=minbase", "--include=make,sudo,ca-certificates", "--format=null"]
    command += [f"--keyring={debian.keyring()}"]
    command += [f"--customize-hook={hook}" for hook in hooks]
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    done = subprocess.run(
        [*command, suite, "-", debian.mirror()],
        env=passed | {"TMPDIR": str(tmp_path), "PIP_CERT": str(CERTIFICATES)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
