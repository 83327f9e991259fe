"""The command line starts drgn and numpy small, and both still do all they can."""

import subprocess
import sys

PROGRAM = """
import os, sys
from pageinspect.host.startup import start_small
start_small()
print("numpy" in sys.modules, "drgn.helpers.linux.mm" in sys.modules)
from drgn.helpers.linux.mm import for_each_page
print("drgn.cli" in sys.modules, len(os.listdir("/proc/self/task")))
import drgn
from _drgn_util.plugins import call_plugins
call_plugins("drgn_prog_set", drgn.Program())
print("importlib.metadata" in sys.modules)
import drgn.helpers.linux
print(hasattr(drgn.helpers.linux, "no such helper"))
from drgn.helpers.linux import for_each_task
print(for_each_task.__module__, "for_each_page" in drgn.helpers.linux.__all__)
print("drgn.helpers.common.memory" in sys.modules)
from drgn.helpers.common import identify_address
print(identify_address.__module__)
"""


def test_what_is_left_out_comes_when_it_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "True False",
        "False 1",
        "False",
        "False",
        "drgn.helpers.linux.pid True",
        "False",
        "drgn.helpers.common.memory",
    ]
