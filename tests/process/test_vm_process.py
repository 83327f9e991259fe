# SPDX-License-Identifier: GPL-2.0-only
"""The host's end of the agent, without a guest."""

import subprocess
import sys

# A signal that another thread takes does not end a wait, as one does not that comes just before it.
INTERRUPTED = """
import signal, socket, threading
from pageinspect.vm.process import Connection

here, there = socket.socketpair()
connection = Connection(here, None)
reader = next(thread for thread in threading.enumerate() if thread.name == "agent")
threading.Timer(1, signal.pthread_kill, (reader.ident, signal.SIGINT)).start()
try:
    connection.wait(lambda: False, None, "what does not happen")
except KeyboardInterrupt:
    print("interrupted")
connection.close()
"""


def test_no_signal_waits_for_the_guest() -> None:
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "interrupted\n"
