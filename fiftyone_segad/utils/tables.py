"""Write tables that a spreadsheet opens right away: comma-separated values (RFC 4180) in UTF-8 with a byte order mark.

Excel takes a file without the mark for one of the system's old encoding. A text that begins like a formula, as the name
of a file may, gets an apostrophe in front, by which spreadsheets know text: nobody's name starts a program.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

ENCODING = "utf-8-sig"
"""UTF-8 with a byte order mark, for files that a ``TableWriter`` writes to; open them with ``newline=""``."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a cell begins with that a spreadsheet takes for a formula, or may after it has removed white space."""


class TableWriter:
    """Writes rows to a file as they come, each to the disk at once.

    Args:
        file: an open text file
        columns: names of the columns, the first row

    Examples:
        >>> import io
        >>> file = io.StringIO()
        >>> table = TableWriter(file, ["path", "score", "decision"])
        >>> table.write({"path": "=a, b.png", "score": -0.5, "decision": None})
        >>> file.getvalue()
        'path,score,decision\\r\\n"\\'=a, b.png",-0.5,\\r\\n'
    """

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        self._file, self._columns = file, columns
        self._writer = csv.writer(file)
        self._writer.writerow(columns)
        file.flush()

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row; a column that it lacks, or has as None, stays empty."""
        self._writer.writerow([to_cell(row.get(column)) for column in self._columns])
        self._file.flush()


def to_cell(value: Any) -> Any:
    """Return a value as it is written in a cell; text that begins like a formula gets an apostrophe in front.

    Examples:
        >>> to_cell("-1.png"), to_cell(-1.5), to_cell("a.png"), to_cell(None)
        ("'-1.png", -1.5, 'a.png', '')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return value
