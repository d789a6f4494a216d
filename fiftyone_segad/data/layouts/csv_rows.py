"""Read tables of text, whichever program wrote them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from ..image_files import is_file

Row = dict[str, str]
"""Cells of a row by the name of their column, without space around them; empty where there is none."""

_DELIMITERS = ",;\t|"

_NAMED_DELIMITER = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
"""First line by which a table tells Excel what is between cells."""


def read_rows(file: Path, columns: Sequence[str] = ()) -> list[Row]:
    """Read a table whose first row names the columns.

    Args:
        file: its file: UTF-8, with commas, semicolons, tabs or bars between cells
        columns: columns that it must have, in lower case

    Returns:
        its rows; the names of columns are in lower case

    Raises:
        ValueError: if a column is missing, or the file is no such table
    """
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"'{file}' is not UTF-8; save it as CSV UTF-8") from error
    text = text.lstrip("\r\n")
    named = _NAMED_DELIMITER.match(text)
    text = text[named.end() :] if named else text
    delimiter = named[1] if named else max(_DELIMITERS, key=text.partition("\n")[0].count)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="", strict=True)
        rows = [
            {name.strip().lower(): cell.strip() for name, cell in row.items() if name is not None} for row in reader
        ]
    except csv.Error as error:
        raise ValueError(f"'{file}' is no table: {error}") from error
    names = [name.strip().lower() for name in reader.fieldnames or []]
    if absent := [name for name in columns if name not in names]:
        raise ValueError(f"'{file}' lacks the columns {absent}; it has {names}")
    return rows


def file_of(base: Path, cell: str) -> Path:
    """Return the file that a cell names, from a folder on; Windows writes paths with another slash."""
    file = base / cell
    return file if "\\" not in cell or is_file(file) else base / cell.replace("\\", "/")
