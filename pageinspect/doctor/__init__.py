# SPDX-License-Identifier: GPL-2.0-only
"""Checks what this machine provides for walking, tracing and guests, by trying it.

probes.py and bpf_probes.py have one function per requirement; items.py is the table of them.
"""
