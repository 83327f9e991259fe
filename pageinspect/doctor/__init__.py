"""What this machine offers of what walking, tracing and guests need, found out by trying.

probes.py and bpf_probes.py try one thing each, items.py is the table of them.
"""
