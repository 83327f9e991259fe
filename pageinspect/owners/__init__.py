# SPDX-License-Identifier: GPL-2.0-only
"""Owners of pages: one file per kind of owner, and an ordered table of the kinds."""
