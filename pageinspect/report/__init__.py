"""Reports: frozen answers that know their JSON form and their table; they write nothing."""

from .base import Column, Coverage, Report, Table, kernel_json

__all__ = ["Column", "Coverage", "Report", "Table", "kernel_json"]
