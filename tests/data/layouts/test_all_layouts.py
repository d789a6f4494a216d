"""load_folder on small folders in the layouts of public datasets: each image with its split, defect type and mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
import layout_folders
from fiftyone_segad.data.folders import look_into
from fiftyone_segad.data.layouts.all_layouts import LAYOUTS
from fiftyone_segad.data.truth import read_truth
from layout_folders import SIZE, picture, text

Load = Callable[..., fo.Dataset]


def contents(dataset: fo.Dataset, root: Path) -> dict[str, tuple[str | None, str | None, str | None, int]]:
    """The category, split, defect type and number of defective pixels of each image."""
    areas = {}
    for id, truth in read_truth(dataset, "defect_mask").items():
        marked = truth.read(SIZE)
        areas[id] = 0 if marked is None else int(marked.sum())
    return {
        Path(sample.filepath).relative_to(root).as_posix(): (
            sample.category and sample.category.label,
            sample.split,
            sample.defect and sample.defect.label,
            areas[sample.id],
        )
        for sample in dataset
    }


CANDLE = "candle/Data/Images"
PART = "audiojack_0001"
EXPECTED = {
    "visa": (
        layout_folders.visa,
        {
            f"{CANDLE}/Normal/0000.JPG": ("candle", "train", "good", 0),
            f"{CANDLE}/Normal/0001.JPG": ("candle", "test", "good", 0),
            f"{CANDLE}/Anomaly/000.JPG": ("candle", "test", "wax melded out of the candle", 3),
            f"{CANDLE}/Anomaly/001.JPG": ("candle", "test", "chunk of wax missing,other", 5),
            "pipe_fryum/Data/Images/Normal/0000.JPG": ("pipe_fryum", "train", "good", 0),
        },
        "VisA, 2 categories: 2 good to train on, 1 good and 2 defective to test on, masks of 2",
    ),
    "visa_1cls": (
        layout_folders.visa_one_class,
        {
            "candle/train/good/0000.JPG": ("candle", "train", "good", 0),
            "candle/test/good/0001.JPG": ("candle", "test", "good", 0),
            "candle/test/bad/000.JPG": ("candle", "test", "bad", 3),
        },
        "VisA (one-class form): 1 good to train on, 1 good and 1 defective to test on, masks of 1",
    ),
    "btad": (
        layout_folders.btad,
        {
            f"{category}/{name}.{suffix}": (category, split, defect, area)
            for category, suffix in (("01", "bmp"), ("02", "png"), ("03", "bmp"))
            for name, split, defect, area in (
                ("train/ok/0000", "train", "good", 0),
                ("test/ok/0001", "test", "good", 0),
                ("test/ko/0000", "test", "ko", 3),
            )
        },
        "BTAD, 3 categories: 3 good to train on, 3 good and 3 defective to test on, masks of 3",
    ),
    "mpdd": (
        layout_folders.mpdd,
        {
            "bracket_black/train/good/000.png": ("bracket_black", "train", "good", 0),
            "bracket_black/test/good/000.png": ("bracket_black", "test", "good", 0),
            "bracket_black/test/hole/000.png": ("bracket_black", "test", "hole", 3),
        },
        "MPDD: 1 good to train on, 1 good and 1 defective to test on, masks of 1",
    ),
    "autovi": (
        layout_folders.autovi,
        {
            "pipe_clip/train/good/0000.png": ("pipe_clip", "train", "good", 0),
            "pipe_clip/test/good/0000.png": ("pipe_clip", "test", "good", 0),
            "pipe_clip/test/unclipped/0089.png": ("pipe_clip", "test", "unclipped", 5),
        },
        "AutoVI: 1 good to train on, 1 good and 1 defective to test on, masks of 1",
    ),
    "mvtec_3d": (
        layout_folders.mvtec_3d,
        {
            "bagel/train/good/rgb/000.png": ("bagel", "train", "good", 0),
            "bagel/validation/good/rgb/000.png": ("bagel", "validation", "good", 0),
            "bagel/test/good/rgb/000.png": ("bagel", "test", "good", 0),
            "bagel/test/hole/rgb/000.png": ("bagel", "test", "hole", 3),
        },
        "MVTec 3D AD (its colour images): 1 good to train on, 1 good to validate on, "
        "1 good and 1 defective to test on, masks of 1",
    ),
    "kolektor_sdd": (
        layout_folders.kolektor_sdd,
        {"kos01/Part0.jpg": (None, None, "good", 0), "kos02/Part0.jpg": (None, None, "defect", 4)},
        "KolektorSDD: 2 that their masks call good or defective, masks of 2",
    ),
    "kolektor_sdd2": (
        layout_folders.kolektor_sdd2,
        {
            "train/10000.png": (None, "train", "good", 0),
            "train/10001.png": (None, "train", "defect", 2),
            "test/20000.png": (None, "test", "good", 0),
            "test/20001.png": (None, "test", "defect", 3),
        },
        "KolektorSDD2: 2 that their masks call good or defective to train on, "
        "2 that their masks call good or defective to test on, masks of 4",
    ),
    "real_iad": (
        layout_folders.real_iad,
        {
            f"realiad_1024/audiojack/OK/S0001/{PART}_OK_C1_20231021111111.jpg": ("audiojack", "train", "good", 0),
            f"realiad_1024/audiojack/NG/AK/S0001/{PART}_NG_AK_C2_20231021111111.jpg": ("audiojack", "test", "pit", 3),
            f"realiad_1024/audiojack/NG/AK/S0001/{PART}_NG_AK_C3_20231021111111.jpg": ("audiojack", "test", "good", 0),
        },
        "Real-IAD: 1 good to train on, 1 good and 1 defective to test on, masks of 1",
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_image_with_what_is_known_of_it(tmp_path: Path, load: Load, name: str) -> None:
    make, expected, said = EXPECTED[name]
    root = make(tmp_path / "data set")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert str(look_into(root)) == said
    dataset = load(root)
    assert contents(dataset, root) == expected
    assert dataset.info["problems"] == [] and dataset.info["layout"] == LAYOUTS[name].title
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before, "nothing is written"
    assert contents(load(root, name), root) == expected, "the layout can be named"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_folder_that_is_alone_in_another_is_taken_for_it(tmp_path: Path, load: Load, name: str) -> None:
    make, expected, _ = EXPECTED[name]
    root = make(tmp_path / "unpacked" / "data set")
    assert contents(load(tmp_path), root) == expected


@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - {"classes", "images", "table"}))
def test_a_folder_in_another_layout_is_refused(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "a/000.png")
    picture(tmp_path / "b/000.png")
    with pytest.raises(FileNotFoundError, match="is not in the layout of"):
        segad.load_folder(tmp_path, name)


def test_one_category_of_visa(tmp_path: Path, load: Load) -> None:
    root = layout_folders.visa(tmp_path)
    expected = {name: values for name, values in EXPECTED["visa"][1].items() if values[0] == "candle"}
    assert contents(load(root, categories="candle"), root) == expected
    assert contents(load(root / "candle"), root) == expected, "its folder is enough"
    with pytest.raises(ValueError, match=r"no categories \['screw'\].*candle"):
        segad.load_folder(root, categories=["screw"])


def test_visa_without_its_table_of_splits(tmp_path: Path, load: Load) -> None:
    root = layout_folders.visa(tmp_path)
    (root / "split_csv/1cls.csv").unlink()
    dataset = load(root)
    assert set(dataset.values("split")) == {None}
    assert dataset.count_values("defect.label") == {
        "good": 2,
        "wax melded out of the candle": 1,
        "chunk of wax missing,other": 1,
    }


def test_images_and_masks_that_a_table_of_visa_names_but_are_gone(tmp_path: Path, load: Load) -> None:
    root = layout_folders.visa(tmp_path)
    (root / CANDLE / "Normal/0000.JPG").unlink()
    (root / "candle/Data/Masks/Anomaly/000.png").unlink()
    dataset = load(root)
    assert len(dataset) == 4
    problems = dataset.info["problems"]
    assert len(problems) == 2
    assert any("Normal/0000.JPG' is in a table of VisA, but there is no such file" in problem for problem in problems)
    assert any("Masks/Anomaly/000.png" in problem for problem in problems)
    assert [Path(path).stem for path in dataset.match_tags("problem").values("filepath")] == ["000"]


def test_a_table_of_visa_that_is_none(tmp_path: Path) -> None:
    root = layout_folders.visa(tmp_path)
    text(root / "split_csv/1cls.csv", "object;image", "candle;x")
    with pytest.raises(ValueError, match=r"1cls.csv' lacks the columns \['split', 'label', 'mask'\]"):
        segad.load_folder(root)


def test_parts_and_sides_of_real_iad(tmp_path: Path, load: Load) -> None:
    dataset = load(layout_folders.real_iad(tmp_path))
    assert sorted(zip(dataset.values("part_id"), dataset.values("view"), strict=True)) == [
        ("NG/AK/S0001", "C2"),
        ("NG/AK/S0001", "C3"),
        ("OK/S0001", "C1"),
    ]


def test_the_size_of_real_iad_can_be_chosen_by_its_folder(tmp_path: Path, load: Load) -> None:
    root = layout_folders.real_iad(tmp_path)
    dataset = load(root / "realiad_256")
    assert len(dataset) == 3 and all("realiad_256" in path for path in dataset.values("filepath"))


@pytest.mark.parametrize("content", ['{"train": 3}', '{"train": ["a.jpg"]}'])
def test_a_damaged_file_of_real_iad(tmp_path: Path, content: str) -> None:
    root = layout_folders.real_iad(tmp_path)
    text(root / "realiad_jsons/realiad_jsons/audiojack.json", content)
    with pytest.raises(ValueError, match=r"audiojack.json' is not a JSON file of Real-IAD: 'train' is no list"):
        segad.load_folder(root)


def test_parts_and_sides_of_kolektor_sdd(tmp_path: Path, load: Load) -> None:
    dataset = load(layout_folders.kolektor_sdd(tmp_path))
    assert sorted(zip(dataset.values("part_id"), dataset.values("view"), strict=True)) == [
        ("kos01", "Part0"),
        ("kos02", "Part0"),
    ]


def test_kolektor_without_a_mask_is_neither_good_nor_defective(tmp_path: Path, load: Load) -> None:
    root = layout_folders.kolektor_sdd2(tmp_path)
    (root / "test/20000_GT.png").unlink()
    (root / "test/20001_GT.png").write_text("no image")
    layout_folders.mask(root / "train/10009_GT.png")
    dataset = load(root)
    assert dataset.count_values("defect.label") == {"good": 1, "defect": 1, None: 2}
    problems = "\n".join(dataset.info["problems"])
    assert len(dataset.info["problems"]) == 3
    assert "20000.png' has no mask, which would say whether it is defective" in problems
    assert "20001_GT.png' is not an image" in problems
    assert "10009_GT.png' is a mask without an image" in problems


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["screw/train/good/0", "screw/test/bent/0"], "mvtec"),
        (["pushpins/train/good/0", "pushpins/validation/good/0", "pushpins/test/logical_anomalies/0"], "mvtec_loco"),
        (["can/train/good/0", "can/test_public/bad/0", "can/test_private/0"], "mvtec_ad2"),
        (["candle/train/good/0", "screw/train/good/0"], "mvtec"),
    ],
)
def test_mvtecs_own_layouts_are_told_apart(tmp_path: Path, load: Load, names: list[str], expected: str) -> None:
    for name in names:
        picture(tmp_path / "all" / f"{name}.png")
    assert look_into(tmp_path).layout.name == expected
    assert load(tmp_path, expected).count_values("split") == load(tmp_path).count_values("split")
