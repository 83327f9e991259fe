# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: print how many BPF programs, maps and links the kernel has, as a JSON list."""

import ctypes
import errno
import json
import sys

SYS_BPF = 321
# BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID
COMMANDS = (11, 12, 31)


def count(command: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    # union bpf_attr: start_id, next_id, open_flags
    attr = (ctypes.c_uint32 * 32)()
    found = 0
    while libc.syscall(SYS_BPF, command, attr, ctypes.sizeof(attr)) == 0:
        found += 1
        attr[0] = attr[1]
    assert ctypes.get_errno() == errno.ENOENT
    return found


json.dump([count(command) for command in COMMANDS], sys.stdout)
