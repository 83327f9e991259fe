# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: count page frees twice over the same load, by the tracepoint and by a kprobe.

Prints {"tracepoint": N, "kprobe": N}; "no symbol" instead of the second number where there is no
free_pages_prepare, and "refused" where the kernel lets nobody probe it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pageinspect.paths import data_folder
from pageinspect.trace.find_bcc import find_bcc, load_bcc

PROGRAM = b"""
BPF_ARRAY(hits, u64, 2);

static inline __attribute__((always_inline)) int count(int key)
{
    u64 *hit = hits.lookup(&key);
    if (hit)
        lock_xadd(hit, 1);
    return 0;
}

int count_tracepoint(void *ctx) { return count(0); }
int count_kprobe(void *ctx) { return count(1); }
"""
FUNCTION = "free_pages_prepare"


def attach(bpf: Any) -> bool:
    try:
        bpf.attach_kprobe(event=FUNCTION.encode(), fn_name=b"count_kprobe")
    except Exception as error:  # noqa: BLE001 - bcc raises nothing more specific
        sys.stderr.write(f"{error}\n")
        return False
    return True


def main() -> None:
    os.environ["BCC_KERNEL_SOURCE"] = str(data_folder("bpf"))
    bcc = load_bcc(find_bcc())
    bpf = bcc.BPF(text=PROGRAM)
    names = {line.split()[2] for line in Path("/proc/kallsyms").read_text().splitlines()}
    missing = None if FUNCTION in names else "no symbol"
    if missing is None and not attach(bpf):
        missing = "refused"
    bpf.attach_raw_tracepoint(tp=b"mm_page_free", fn_name=b"count_tracepoint")
    subprocess.run(sys.argv[1:], check=True)
    tracepoint, kprobe = (bpf[b"hits"][key].value for key in (0, 1))
    json.dump({"tracepoint": tracepoint, "kprobe": missing or kprobe}, sys.stdout)


main()
