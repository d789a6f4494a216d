"""load_folder on tables as spreadsheets and scripts write them, and on tables with mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.data.folders import look_into
from layout_folders import picture, text

Load = Callable[..., fo.Dataset]

PLAIN = "image,label\na.png,good\nb.png,scratch\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    return tmp_path / "parts.csv"


def labels(dataset: fo.Dataset) -> dict[str, str | None]:
    return {Path(sample.filepath).name: sample.defect and sample.defect.label for sample in dataset}


@pytest.mark.parametrize(
    "content",
    [
        "\n\r\n" + PLAIN,
        "sep=;\n" + PLAIN.replace(",", ";"),
        "SEP=#\r\n" + PLAIN.replace(",", "#"),
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " , "),
        PLAIN.replace("a.png", ".\\a.png"),
    ],
    ids=["blank lines", "sep=;", "sep=#", "CRLF", "tabs and a mark", "spaces", "backslashes"],
)
def test_what_spreadsheets_write(table: Path, load: Load, content: str) -> None:
    table.write_text(content, newline="")
    dataset = load(table)
    assert labels(dataset) == {"a.png": "good", "b.png": "scratch"} and dataset.info["problems"] == []


def test_numbers_that_a_script_has_made_of_labels(table: Path, load: Load) -> None:
    """pandas writes whole numbers so where one is absent."""
    text(table, ",image_path,label_index,split", "0,a.png,0.0,train", "1,b.png,1.0,test")
    assert labels(load(table)) == {"a.png": "good", "b.png": "defect"}


def test_a_row_that_says_nothing_of_an_image_contradicts_none(table: Path, load: Load) -> None:
    text(table, "image,label", "a.png,", "a.png,good", "b.png,scratch", "b.png,")
    dataset = load(table)
    assert labels(dataset) == {"a.png": "good", "b.png": "scratch"} and dataset.info["problems"] == []


@pytest.mark.parametrize("content", ["", "image,label\n", "\n\n"])
def test_a_table_without_rows(table: Path, content: str) -> None:
    table.write_text(content)
    with pytest.raises(ValueError, match=r"parts.csv' has no rows"):
        segad.load_folder(table)


def test_files_of_a_table_that_are_no_images(table: Path, load: Load) -> None:
    text(table.parent / "notes.txt", "no image")
    long = "x" * 3000
    text(table, "image,label", "a.png,good", "notes.txt,good", ".,good", f"{long}.png,good", f"{long}\\y.png,good")
    dataset = load(table)
    assert labels(dataset) == {"a.png": "good"}
    problems = dataset.info["problems"]
    assert len(problems) == 4 and problems[0].endswith(
        "notes.txt' is in 'parts.csv', but its suffix is none of an image"
    )
    assert all(problem.endswith("is in 'parts.csv', but there is no such file") for problem in problems[1:])


def test_several_tables_in_a_folder_are_named(table: Path) -> None:
    table.write_text(PLAIN)
    text(table.with_name("log.csv"), "time,text", "12:00,started")
    content = look_into(table.parent)
    assert content.layout.name == "images"
    assert content.hints == [f"'{table}' is a table of images; load it by itself"], "not the log"


def test_a_table_that_cannot_be_read_is_not_passed_over(table: Path) -> None:
    table.write_bytes("image,label\na.png,überdreht\n".encode("latin-1"))
    assert str(look_into(table.parent)).endswith("parts.csv' is not UTF-8; save it as CSV UTF-8")
