# SPDX-License-Identifier: GPL-2.0-only
"""Questions on the snapshots of many hosts, answered by DuckDB from the files of a dataset."""
