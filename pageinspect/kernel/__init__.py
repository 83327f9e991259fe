# SPDX-License-Identifier: GPL-2.0-only
"""Readers of kernel state other than struct pages, through drgn."""
