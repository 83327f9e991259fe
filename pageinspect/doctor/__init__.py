"""What this machine offers of what walking, tracing and guests need, found out by trying.

probes.py and syscalls.py try one thing each, items.py is the table of them.
"""
