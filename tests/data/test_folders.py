"""load_folder on folders of anybody: classes, tables, and images alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.data.folders import look_into
from fiftyone_segad.data.truth import read_truth
from layout_folders import SIZE, mask, picture, text

Load = Callable[..., fo.Dataset]


def known(dataset: fo.Dataset, root: Path) -> dict[str, tuple[str | None, str | None, int]]:
    """The split, defect type and number of defective pixels of each image."""
    areas = {}
    for id, truth in read_truth(dataset, "defect_mask").items():
        marked = truth.read(SIZE)
        areas[id] = 0 if marked is None else int(marked.sum())
    return {
        Path(sample.filepath).relative_to(root).as_posix(): (
            sample.split,
            sample.defect and sample.defect.label,
            areas[sample.id],
        )
        for sample in dataset
    }


def test_folders_as_classes(tmp_path: Path, load: Load) -> None:
    for name in ("ok/a 1.png", "ok/deeper/b.JPG", "scratch/a 1.png", "dent/c.bmp"):
        picture(tmp_path / name)
    assert str(look_into(tmp_path)) == "Folders as classes: 2 good and 2 defective"
    dataset = load(tmp_path)
    assert known(dataset, tmp_path) == {
        "ok/a 1.png": (None, "good", 0),
        "ok/deeper/b.JPG": (None, "good", 0),
        "scratch/a 1.png": (None, "scratch", 0),
        "dent/c.bmp": (None, "dent", 0),
    }
    assert dataset.info["problems"] == [], "nobody promised masks"


@pytest.mark.parametrize("nested", [True, False], ids=["masks by class", "masks together"])
@pytest.mark.parametrize("ending", ["", "_mask", "_GT", "_label"])
def test_folders_as_classes_with_masks(tmp_path: Path, load: Load, nested: bool, ending: str) -> None:
    for name in ("good/000.png", "scratch/000.jpg", "dent/001.png", "dent/002.png"):
        picture(tmp_path / name)
    place = tmp_path / "masks"
    mask(place / ("scratch" if nested else "") / f"000{ending}.png", 4)
    mask(place / ("dent" if nested else "") / f"001{ending}.png", 2, value=1)
    dataset = load(tmp_path)
    assert known(dataset, tmp_path) == {
        "good/000.png": (None, "good", 0),
        "scratch/000.jpg": (None, "scratch", 4),
        "dent/001.png": (None, "dent", 2),
        "dent/002.png": (None, "dent", 0),
    }
    (problem,) = dataset.info["problems"]
    assert problem.endswith("dent/002.png' shows 'dent' but has no mask")


def test_defect_types_in_a_folder_of_defective_images(tmp_path: Path, load: Load) -> None:
    for name in ("OK/000.png", "NG/scratch/000.png", "NG/scratch/monday/001.png", "NG/002.png", "dent/monday/003.png"):
        picture(tmp_path / name)
    assert {name: values[1] for name, values in known(load(tmp_path), tmp_path).items()} == {
        "OK/000.png": "good",
        "NG/scratch/000.png": "scratch",
        "NG/scratch/monday/001.png": "scratch",
        "NG/002.png": "NG",
        "dent/monday/003.png": "dent",
    }


def test_anomalibs_folders(tmp_path: Path, load: Load) -> None:
    for name in ("normal/000.png", "normal_test/001.png", "abnormal/000.png"):
        picture(tmp_path / name)
    mask(tmp_path / "mask/000.png", 4)
    assert known(load(tmp_path), tmp_path) == {
        "normal/000.png": ("train", "good", 0),
        "normal_test/001.png": ("test", "good", 0),
        "abnormal/000.png": ("test", "abnormal", 4),
    }


def test_folders_of_any_names_as_classes_if_it_is_asked_for(tmp_path: Path, load: Load) -> None:
    picture(tmp_path / "dent/000.png")
    picture(tmp_path / "rust/000.png")
    assert look_into(tmp_path).layout.name == "images"
    assert known(load(tmp_path, "classes"), tmp_path) == {
        "dent/000.png": (None, "dent", 0),
        "rust/000.png": (None, "rust", 0),
    }


def test_images_outside_of_the_classes_are_named(tmp_path: Path, load: Load) -> None:
    for name in ("good/000.png", "loose.png", "masks/x.png", "labels/y.png"):
        picture(tmp_path / name)
    problems = load(tmp_path).info["problems"]
    assert len(problems) == 3
    for said in ("holds 1 image outside of", "masks' is none of", "labels/y.png' is a mask without an image"):
        assert any(said in problem for problem in problems), said


def test_images_alone(tmp_path: Path, load: Load) -> None:
    picture(tmp_path / "000.png")
    picture(tmp_path / "monday/001.PNG")
    assert str(look_into(tmp_path)) == "Images: 2 of which nothing is known"
    dataset = load(tmp_path)
    assert dataset.values("defect") == [None, None] and dataset.values("defect_mask") == [None, None]
    assert dataset.info["problems"] == []
    assert known(load(tmp_path, label="ok"), tmp_path) == {
        "000.png": (None, "good", 0),
        "monday/001.PNG": (None, "good", 0),
    }


def test_a_folder_above_the_one_that_is_meant_is_told(tmp_path: Path, load: Load) -> None:
    picture(tmp_path / "data/nut/train/good/0.png")
    picture(tmp_path / "notes/0.png")
    hint = f"'{tmp_path / 'data'}' looks like MVTec AD; load it by itself"
    assert str(look_into(tmp_path)) == f"Images: 2 of which nothing is known. But {hint}"
    assert load(tmp_path).info["problems"] == [hint]
    assert load(tmp_path, "images").info["problems"] == [], "it was asked for"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table(tmp_path: Path, load: Load, delimiter: str) -> None:
    for name in ("a 1.png", "b.PNG", "c.png", "d.png", "e.png"):
        picture(tmp_path / "pictures" / name)
    mask(tmp_path / "m/b1.png", 3)
    mask(tmp_path / "m/b2.png", 2, left=10)
    mask(tmp_path / "m/d.png", 4, value=1)
    rows = [
        ("\ufeffFile Name", "Label", "mask_path", "Split", "part", "Camera", "note"),
        ("pictures/a 1.png", "OK", "", "Train", "7", "top", ""),
        ("pictures/b.PNG", "scratch", "m/b1.png", "test", "8", "top", "two masks"),
        ("pictures\\b.PNG", "scratch", "m\\b2.png", "test", "8", "top", "two masks"),
        ("pictures/c.png", "0", "", "test", "8", "side", ""),
        ("pictures/d.png", "", "m/d.png", "test", "", "", "its mask tells"),
        (str(tmp_path / "pictures/e.png"), "", "", "", "", "", "unknown"),
    ]
    text(tmp_path / "list.csv", *[delimiter.join(row) for row in rows])
    said = (
        "A table: 1 good to train on, 1 good and 1 defective and 1 that their masks call good or defective to test on, "
        "1 of which nothing is known, masks of 2"
    )
    assert str(look_into(tmp_path)) == said
    for folder in (tmp_path, tmp_path / "list.csv"):
        dataset = load(folder)
        assert known(dataset, tmp_path) == {
            "pictures/a 1.png": ("train", "good", 0),
            "pictures/b.PNG": ("test", "scratch", 5),
            "pictures/c.png": ("test", "good", 0),
            "pictures/d.png": ("test", "defect", 4),
            "pictures/e.png": (None, None, 0),
        }
        assert dataset.info["problems"] == []
        assert dataset.values("part_id") == ["7", "8", "8", None, None]
        assert dataset.values("view") == ["top", "top", "side", None, None]


def test_a_table_whose_columns_are_named(tmp_path: Path, load: Load) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    text(tmp_path / "list.csv", "Bild,Fehler,Ware", "a.png,,nut", "b.png,1,bolt")
    with pytest.raises(ValueError, match=r"No column of .*list.csv' is known to name images.*\['bild', 'fehler'"):
        segad.load_folder(tmp_path / "list.csv")
    columns = {"image": "Bild", "label": "Fehler", "category": "Ware"}
    dataset = load(tmp_path / "list.csv", columns=columns)
    assert known(dataset, tmp_path) == {"a.png": (None, None, 0), "b.png": (None, "defect", 0)}
    assert dataset.values("category.label") == ["nut", "bolt"]
    assert known(load(tmp_path, columns=columns, categories="nut"), tmp_path) == {"a.png": (None, None, 0)}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"image": "Bild"}, r"has no columns \['Bild'\]; it has \['path', 'label'\]"),
        ({"images": "path"}, r"names \['images'\]; columns can be named for \['image', 'label'"),
    ],
)
def test_columns_that_do_not_exist(tmp_path: Path, columns: dict[str, str], said: str) -> None:
    picture(tmp_path / "a.png")
    text(tmp_path / "list.csv", "path,label", "a.png,ok")
    with pytest.raises(ValueError, match=said):
        segad.load_folder(tmp_path, columns=columns)


def test_what_is_wrong_in_a_table_is_told(tmp_path: Path, load: Load) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name)
    lines = ("path,label,mask", "a.png,ok,", "gone.png,ok,", "b.png,dent,gone_mask.png", "c.png,ok,", "c.png,dent,")
    text(tmp_path / "list.csv", *lines)
    dataset = load(tmp_path)
    problems = dataset.info["problems"]
    assert len(problems) == 3
    for said in (
        "gone.png' is in 'list.csv', but there is no such file",
        "gone_mask.png'",
        "c.png' is 'good' and 'dent' in 'list.csv'; keep one",
    ):
        assert any(said in problem for problem in problems), said
    assert len(dataset) == 3 and len(dataset.match_tags("problem")) == 2


def test_a_table_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes("path,label\ngröße.png,ok\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"list.csv' is not UTF-8; save it as CSV UTF-8"):
        segad.load_folder(tmp_path / "list.csv")


def test_names_that_are_wrong(tmp_path: Path, load: Load) -> None:
    picture(tmp_path / "good/a.png")
    with pytest.raises(ValueError, match=r"layout='visa2' is none of \['auto', 'visa'"):
        segad.load_folder(tmp_path, "visa2")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        segad.load_folder(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"is a file; name a folder, or a \.csv file"):
        segad.load_folder(tmp_path / "good/a.png")
    with pytest.raises(ValueError, match=r"no categories \['nut'\].*it has none"):
        segad.load_folder(tmp_path, categories="nut")
    with pytest.raises(ValueError, match=r"is no table, nor a folder with one"):
        segad.load_folder(tmp_path, columns={"image": "path"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no images that can be loaded"):
        segad.load_folder(tmp_path / "empty")
    dataset = load(tmp_path)
    with pytest.raises(ValueError, match="exists; pass another name"):
        segad.load_folder(tmp_path, name=dataset.name)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_read_hides_no_layout(tmp_path: Path, load: Load) -> None:
    picture(tmp_path / "nut/train/good/0.png")
    (tmp_path / "secret").mkdir(mode=0)
    assert load(tmp_path).info["layout"] == "MVTec AD"


def test_links_that_lead_nowhere_or_round(tmp_path: Path, load: Load) -> None:
    picture(tmp_path / "good/0.png")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "dent").symlink_to(picture(tmp_path.parent / f"{tmp_path.name} dents/1.png").parent)
    assert known(load(tmp_path), tmp_path) == {"good/0.png": (None, "good", 0), "dent/1.png": (None, "dent", 0)}
