# SPDX-License-Identifier: GPL-2.0-only
"""A folder of snapshots as Parquet files, which engines such as DuckDB read too.

A snapshot has one file for each table, TABLE/host=H/time=T/part.parquet. The file of the table
`snapshots` is written last: without it the other files do not count. Snapshots of one day can be
merged into TABLE/day=YYYYMMDD/GENERATION.parquet. docs/dataset.md has the rules.
"""
