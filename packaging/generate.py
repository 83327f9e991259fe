# SPDX-License-Identifier: GPL-2.0-only
"""Write the man page and the completion scripts below a folder: generate.py FOLDER."""

import sys
from pathlib import Path

from completions import completion
from man_page import man_page
from parsers import command_line

MAN_PAGE = "share/man/man1/pageinspect.1"
COMPLETIONS = {
    "bash": "share/bash-completion/completions/pageinspect",
    "zsh": "share/zsh/site-functions/_pageinspect",
}


def generate(folder: Path) -> None:
    """Write the files where an installation prefix has them."""
    texts = {MAN_PAGE: man_page(command_line())}
    for shell, place in COMPLETIONS.items():
        texts[place] = completion(command_line(), shell)
    for place, text in texts.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
