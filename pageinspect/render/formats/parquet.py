# SPDX-License-Identifier: GPL-2.0-only
"""parquet: the rows of csv as a Parquet file, compressed by zstd."""

from typing import TextIO

from ...host.extras import load_library
from ...report import Report
from ...report.frames import frame_table
from ..arrow import arrow_schema, record_batches
from ..format import Format, bytes_of


class _Parquet(Format):
    tables_alone = True
    library = ("pyarrow", "arrow")

    def write(self, report: Report, stream: TextIO) -> None:
        arrow, parquet = (load_library(name, "arrow") for name in ("pyarrow", "pyarrow.parquet"))
        table = frame_table(report)
        schema = arrow_schema(arrow, table)
        with parquet.ParquetWriter(bytes_of(stream), schema, compression="zstd") as writer:
            for batch in record_batches(arrow, table, schema):
                writer.write_batch(batch)


FORMAT = _Parquet()
