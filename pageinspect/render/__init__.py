"""Renderers: a report and a stream in, text out; they compute nothing."""

from .formats import FORMATS, render

__all__ = ["FORMATS", "render"]
