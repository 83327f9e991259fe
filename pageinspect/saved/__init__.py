# SPDX-License-Identifier: GPL-2.0-only
"""Answers from a saved snapshot: the reports that need no struct pages."""
