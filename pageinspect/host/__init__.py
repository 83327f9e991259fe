# SPDX-License-Identifier: GPL-2.0-only
"""The machine that runs pageinspect: files, processes, terminal, capabilities."""
