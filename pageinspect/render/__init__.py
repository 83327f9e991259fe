"""Renderers: a report and a stream in, text out; they compute nothing."""

from .format import FORMATS, Format, load, render

__all__ = ["FORMATS", "Format", "load", "render"]
