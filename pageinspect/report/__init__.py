"""Reports: frozen answers that know their JSON form and their table; they write nothing."""

from ..model.table import Column, Table
from .base import Coverage, Report, kernel_json

__all__ = ["Column", "Coverage", "Report", "Table", "kernel_json"]
