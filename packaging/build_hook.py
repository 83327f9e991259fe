# SPDX-License-Identifier: GPL-2.0-only
"""Adds the man page and the completion scripts to the wheel, made from this source's parsers."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GeneratedFiles(BuildHookInterface):  # type: ignore[type-arg]
    """Installs generated files below share/ of the prefix."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Generate the files, and have the wheel install them."""
        self.folder = tempfile.TemporaryDirectory()
        generator = Path(self.root) / "packaging/generate.py"
        subprocess.run([sys.executable, str(generator), self.folder.name], check=True)
        share = Path(self.folder.name) / "share"
        for path in share.rglob("*"):
            if path.is_file():
                place = path.relative_to(self.folder.name)
                build_data["shared_data"][str(path)] = str(place)

    def finalize(self, version: str, build_data: dict[str, Any], artifact: str) -> None:  # noqa: ARG002
        """Remove the files that were generated."""
        self.folder.cleanup()
