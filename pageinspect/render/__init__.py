# SPDX-License-Identifier: GPL-2.0-only
"""Renderers: write a report to a stream as text, without computing anything."""

from .format import FORMATS, METRICS, TEXT_FORMATS, Format, RowFormat, load, render

__all__ = ["FORMATS", "METRICS", "TEXT_FORMATS", "Format", "RowFormat", "load", "render"]
