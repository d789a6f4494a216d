"""Which images here are those of a run elsewhere: by id, by content, by the end of the path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fiftyone_segad.runs.matching import LocalFiles, match_paths, match_samples
from fiftyone_segad.storage.run_archive import CarriedImage


@pytest.fixture
def here(tmp_path: Path) -> dict[str, str]:
    """Paths by id; b and c have the same content."""
    paths = {}
    for id, name, text in (("a", "cut/0.png", "one"), ("b", "cut/1.png", "two"), ("c", "good/1.png", "two")):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        paths[id] = str(file)
    return paths


def carried(id: str, path: str, text: str, tmp_path: Path) -> CarriedImage:
    """An image that was read elsewhere; without a text it could not be."""
    if not text:
        return CarriedImage(id, path, -1, "")
    (tmp_path / "there").write_text(text)
    return replace(CarriedImage.of(id, str(tmp_path / "there")), path=path)


def test_id_then_content_then_end_of_the_path(here: dict[str, str], tmp_path: Path) -> None:
    images = [
        carried("a", "/old/x.png", "one", tmp_path),
        carried("x", "/old/good/1.png", "two", tmp_path),
        carried("y", "D:\\old\\cut\\1.png", "two", tmp_path),
    ]
    assert match_samples(images, LocalFiles(here, images)) == {"a": "a", "x": "c", "y": "b"}
    unread = [carried("x", "/old/good/1.png", "", tmp_path), carried("y", "/old/7.png", "", tmp_path)]
    assert match_samples(unread, LocalFiles(here, unread)) == {"x": "c"}


def test_the_same_id_with_another_content_is_another_image(here: dict[str, str], tmp_path: Path) -> None:
    images = [carried("a", "/old/0.png", "two", tmp_path), carried("z", "/old/9.png", "six", tmp_path)]
    assert match_samples(images, LocalFiles(here, images)) == {"a": "b"}


def test_a_sample_stands_for_one_image(here: dict[str, str], tmp_path: Path) -> None:
    images = [carried(id, "/old/1.png", "two", tmp_path) for id in ("x", "y", "z")]
    assert sorted(match_samples(images, LocalFiles(here, images)).values()) == ["b", "c"]


def test_paths_of_images_to_compare_with(here: dict[str, str], tmp_path: Path) -> None:
    images = [carried("/old/good/1.png", "/old/good/1.png", "two", tmp_path), carried("n", "n", "other", tmp_path)]
    assert match_paths(images, LocalFiles(here, images)) == {"/old/good/1.png": here["c"]}
