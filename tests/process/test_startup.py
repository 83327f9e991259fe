# SPDX-License-Identifier: GPL-2.0-only
"""The command line starts drgn and numpy without plugins and threads."""

import subprocess
import sys

PROGRAM = """
import os, sys
from pageinspect.host.startup import configure_libraries
configure_libraries()
import drgn.helpers.linux
from _drgn_util.plugins import call_plugins
call_plugins("drgn_prog_set", drgn.Program())
print("numpy" in sys.modules, "importlib.metadata" in sys.modules)
print(len(os.listdir("/proc/self/task")))
"""


def test_no_plugin_is_looked_for_and_no_thread_is_started() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["True False", "1"]
