"""load_mvtec on folders made for the test."""

from __future__ import annotations

import logging
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad


def write(path: Path, size: tuple[int, int] = (40, 30), value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


def make_category(folder: Path) -> Path:
    write(folder / "train/good/000.png")
    write(folder / "test/good/000.png")
    write(folder / "test/dent/000.png")
    write(folder / "test/dent/001.png")
    for index in range(2):
        write(folder / f"ground_truth/dent/{index:03d}_mask.png", value=255)
    return folder


def test_one_category_has_the_fields_of_the_contract(tmp_path: Path) -> None:
    dataset = segad.load_mvtec(make_category(tmp_path / "bolt"))
    assert sorted(zip(dataset.values("split"), dataset.values("defect.label"), strict=True)) == [
        ("test", "dent"),
        ("test", "dent"),
        ("test", "good"),
        ("train", "good"),
    ]
    assert dataset.distinct("category.label") == ["bolt"]
    assert dataset.values("metadata.width") == [40] * 4
    assert not dataset.persistent
    assert dataset.info["problems"] == []
    dataset.delete()


def test_good_images_share_one_zero_mask_a_size(tmp_path: Path) -> None:
    make_category(tmp_path / "bolt")
    write(tmp_path / "bolt/test/good/001.png", size=(64, 20))
    dataset = segad.load_mvtec(tmp_path / "bolt")
    masks = dataset.match(fo.ViewField("defect.label") == "good").values("defect_mask.mask_path")
    assert len(masks) == 3
    assert len(set(masks)) == 2, "one file for each of the two sizes"
    assert not any(str(tmp_path) in mask for mask in masks), "nothing is written into the user's folder"
    for mask in set(masks):
        assert not np.asarray(Image.open(mask)).any()
    assert {Image.open(mask).size for mask in masks} == {(40, 30), (64, 20)}
    dataset.delete()


def test_a_root_of_categories_and_a_choice_of_them(tmp_path: Path) -> None:
    for name in ("bolt", "nut", "washer"):
        make_category(tmp_path / name)
    dataset = segad.load_mvtec(tmp_path)
    assert dataset.count_values("category.label") == {"bolt": 4, "nut": 4, "washer": 4}
    dataset.delete()
    dataset = segad.load_mvtec(tmp_path, categories=["nut"])
    assert dataset.distinct("category.label") == ["nut"]
    dataset.delete()


def test_what_does_not_fit_is_told_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_category(tmp_path / "bolt")
    write(folder / "test/dent/missing_mask.png")
    write(folder / "test/dent/wrong_size.png")
    write(folder / "ground_truth/dent/wrong_size_mask.png", size=(10, 10), value=255)
    write(folder / "ground_truth/dent/orphan_mask.png", value=255)
    (folder / "test/dent/broken.png").write_text("not an image")
    with caplog.at_level(logging.WARNING):
        dataset = segad.load_mvtec(folder)
    problems = dataset.info["problems"]
    for name in ("missing_mask.png", "wrong_size_mask.png", "orphan_mask.png", "broken.png"):
        assert any(name in problem for problem in problems), name
        assert name in caplog.text
    tagged = {Path(path).name for path in dataset.match_tags("problem").values("filepath")}
    assert tagged == {"missing_mask.png", "wrong_size.png", "broken.png"}
    wrong = dataset.match(fo.ViewField("filepath").ends_with("wrong_size.png")).first()
    assert wrong.defect_mask is None, "a mask of another size is left out"
    dataset.delete()


def test_names_and_folders_that_are_wrong(tmp_path: Path) -> None:
    make_category(tmp_path / "bolt")
    with pytest.raises(FileNotFoundError, match="no folder"):
        segad.load_mvtec(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="not in MVTec layout"):
        segad.load_mvtec(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"no categories \['screw'\].*bolt"):
        segad.load_mvtec(tmp_path, categories="screw")
    dataset = segad.load_mvtec(tmp_path, name="segad-test-taken")
    with pytest.raises(ValueError, match="exists"):
        segad.load_mvtec(tmp_path, name="segad-test-taken")
    dataset.delete()


def test_a_failure_leaves_no_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_category(tmp_path / "bolt")
    before = fo.list_datasets()

    def fail(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fo.Dataset, "add_samples", fail)
    with pytest.raises(KeyboardInterrupt):
        segad.load_mvtec(tmp_path)
    assert fo.list_datasets() == before
