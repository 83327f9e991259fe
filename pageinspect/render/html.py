"""HTML for notebooks: the table of a report, and the lines before and after it."""

import html
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TextIO

from ..model.table import Column
from ..report import Report
from ..units import counted, printable
from .table import rows_for_people, shown


def write_html(report: Report, stream: TextIO, most_rows: int) -> None:
    """Write the report as HTML, its table with so many rows at most."""
    table = report.to_table()
    columns = [(i, column) for i, column in enumerate(table.columns) if not column.machines]
    stream.writelines(_prose(table.before))
    stream.write("<table><thead>")
    stream.write(_row("th", ((column, column.name) for _, column in columns)))
    stream.write("</thead><tbody>\n")
    rows = rows_for_people(table)
    stream.writelines(
        _row("td", ((column, shown(column, row[i])) for i, column in columns))
        for row in islice(rows, most_rows)
    )
    stream.write("</tbody></table>\n")
    left = next(rows, None)
    if left is not None:
        stream.writelines(_prose((f"The first {counted(most_rows, 'row')}; print() shows all.",)))
        return
    stream.writelines(_prose(table.after() if callable(table.after) else table.after))


def _row(tag: str, cells: Iterator[tuple[Column, str]]) -> str:
    written = "".join(
        f'<{tag} style="text-align: {column.align}">{html.escape(text)}</{tag}>'
        for column, text in cells
    )
    return f"<tr>{written}</tr>\n"


def _prose(lines: Sequence[str]) -> Iterator[str]:
    return (f"<div>{html.escape(printable(line))}</div>\n" for line in lines if line)
