# SPDX-License-Identifier: GPL-2.0-only
"""HTML for notebooks: the table of a report, with the lines before and after it."""

import html
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TextIO

from ..model.table import Column
from ..report import Report, View
from ..units import counted, printable


def write_html(report: Report, stream: TextIO, most_rows: int) -> None:
    """Write the report as HTML, with at most `most_rows` rows per table."""
    view = report.view()
    stream.writelines(_prose(view.before))
    if not _write_rows(view, stream, most_rows):
        return
    for title, further in view.further():
        stream.writelines(_prose((title,)))
        _write_rows(further, stream, most_rows)
    stream.writelines(_prose(view.lines_after()))


def _write_rows(view: View, stream: TextIO, most_rows: int) -> bool:
    """Write the table; return False if there are more rows."""
    columns = [(i, c, c.for_people()) for i, c in enumerate(view.table.columns) if not c.machines]
    stream.write("<table><thead>")
    stream.write(_row("th", ((column, column.name) for _, column, _ in columns)))
    stream.write("</thead><tbody>\n")
    rows = view.all_rows()
    stream.writelines(
        _row("td", ((column, printable(text(row[i]))) for i, column, text in columns))
        for row in islice(rows, most_rows)
    )
    stream.write("</tbody></table>\n")
    left = next(rows, None)
    if left is not None:
        stream.writelines(_prose((f"The first {counted(most_rows, 'row')}; print() shows all.",)))
    return left is None


def _row(tag: str, cells: Iterable[tuple[Column, str]]) -> str:
    written = "".join(
        f'<{tag} style="text-align: {"right" if column.is_number else "left"}">'
        f"{html.escape(text)}</{tag}>"
        for column, text in cells
    )
    return f"<tr>{written}</tr>\n"


def _prose(lines: Sequence[str]) -> Iterator[str]:
    return (f"<div>{html.escape(printable(line))}</div>\n" for line in lines if line)
