# SPDX-License-Identifier: GPL-2.0-only
"""Pictures of memory: maps of cells as PNG, SVG, HTML, and text for a terminal."""
