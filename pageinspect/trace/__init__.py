# SPDX-License-Identifier: GPL-2.0-only
"""Tracing: BPF programs of bpf/, run through the distribution's bcc. The only user of bcc."""
