# SPDX-License-Identifier: GPL-2.0-only
"""Reports: results of a command as typed tables and a JSON document. They write no output."""

from ..model.table import Absent, Column, Table
from .base import Coverage, Report, View, kernel_json

__all__ = ["Absent", "Column", "Coverage", "Report", "Table", "View", "kernel_json"]
