# SPDX-License-Identifier: GPL-2.0-only
"""The command line starts drgn and numpy without plugins, threads and modules it does not need."""

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


FEW = """
import sys
from pageinspect.host.startup import configure_libraries
configure_libraries()
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from drgn.helpers.linux.xarray import xa_for_each
import drgn.helpers.linux.percpu
print(sorted({"drgn.cli", "drgn.commands", "drgn.helpers.linux.bpf"} & set(sys.modules)))
print(for_each_online_pgdat.__module__, drgn.helpers.linux.percpu.per_cpu.__module__)
"""


def test_of_drgns_helpers_only_those_that_are_used_are_imported() -> None:
    done = subprocess.run([sys.executable, "-c", FEW], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "drgn.helpers.linux.mmzone drgn.helpers.linux.percpu"]
