"""Reports: frozen answers that know their tables and their JSON document; they write nothing."""

from ..model.table import Absent, Column, Table
from .base import Coverage, Report, View, kernel_json

__all__ = ["Absent", "Column", "Coverage", "Report", "Table", "View", "kernel_json"]
