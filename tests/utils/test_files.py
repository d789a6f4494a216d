"""Files are complete or absent, and their names safe and unique."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fiftyone_segad.utils.files import UniqueNames, atomic_write, read_json, safe_name, write_json, write_png


def test_what_was_there_stays_until_all_is_written(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with atomic_write(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(type(error)), atomic_write(file) as partial:
        partial.write_text("half")
        raise error
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_half_a_file_of_a_killed_process_goes(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "a.json") as partial:
        name = partial.name
        raise ZeroDivisionError
    (tmp_path / name).write_text("half")
    write_json(tmp_path / "a.json", {"a": 1})
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("a.png", ".a.png.partial"):
        (folder / name).symlink_to(mine)
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_png(folder / "a.png", Image.fromarray(pixels))
    assert mine.read_text() == "mine"
    assert [file.name for file in folder.iterdir()] == ["a.png"] and not (folder / "a.png").is_symlink()
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "a.png")), pixels)


def test_threads_that_write_one_file_take_turns(tmp_path: Path) -> None:
    file, texts = tmp_path / "a.txt", [letter * 100_000 for letter in "abcdefgh"]

    def write(text: str) -> str:
        with atomic_write(file) as partial:
            partial.write_text(text)
        return file.read_text()

    with ThreadPoolExecutor(8) as threads:
        seen = list(threads.map(write, texts * 20))
    assert set(seen) <= set(texts) and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("scratch", "scratch"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "_"),
        ("", "_"),
        ("a/b\\c:d", "a_b_c_d"),
        ("Kratzer größer", "Kratzer größer"),
        ("x" * 500, "x" * 120),
        (" dot. ", "dot"),
        ("line\nbreak\0", "line_break_"),
    ],
)
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_names_are_unlike_each_other_in_any_case() -> None:
    names = UniqueNames(["good"])
    assert [names.take(name) for name in ("a", "A", "a", "a_2", "Good")] == ["a", "A_2", "a_3", "a_2_2", "Good_2"]
