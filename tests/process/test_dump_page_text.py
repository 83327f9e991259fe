# SPDX-License-Identifier: GPL-2.0-only
"""page --dump-text as a command: where it reads from, and what it prints."""

import re
import subprocess
import sys
from typing import Any

from dump_page_cases import CASES, COMMAND, DATA
from places import DOCS


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, **options
    )


def test_a_file_without_an_end() -> None:
    done = run("/dev/zero")
    assert (done.returncode, done.stdout) == (1, "")
    assert "more than 64 MiB of text" in done.stderr
    assert "hint" in done.stderr


def test_a_closed_standard_input() -> None:
    command = ["sh", "-c", 'exec "$0" "$@" <&-', *COMMAND, "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "standard input is closed" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hint" in done.stderr


def test_the_example_of_the_documentation() -> None:
    document = (DOCS / "page.md").read_text(encoding="utf-8")
    (example,) = re.findall(
        r"^\$ dmesg \| pageinspect (.*?)\n(.*?)^```", document, re.MULTILINE | re.DOTALL
    )
    assert example[0] == "page --dump-text -"
    assert run("-", input=CASES["pp-6.12"]).stdout == example[1]


def test_the_command() -> None:
    path = str(DATA / "dump_page_7.x.txt")
    done = run(path)
    assert "f6((null)), because dump_page() has" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    program = (
        "import sys; from pageinspect.cli.main import main; main(sys.argv[1:]); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *COMMAND[3:], path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pageinspect.render.formats.table" in done.stdout.split()
    assert "tabulate" not in done.stdout.split()
    done = run("-", input="no\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "hint" in done.stderr
