# SPDX-License-Identifier: GPL-2.0-only
"""Computes results from columns of pages: totals, counter checks, facts. No module imports drgn."""
