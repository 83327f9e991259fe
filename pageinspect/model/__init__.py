# SPDX-License-Identifier: GPL-2.0-only
"""The data model: frozen dataclasses and numpy arrays. Nothing in this package imports drgn."""
