"""load_mvtec on folders made for the test."""

from __future__ import annotations

import logging
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.data.truth import read_truth


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


def test_good_images_have_a_zero_mask_without_a_file(tmp_path: Path) -> None:
    make_category(tmp_path / "bolt")
    write(tmp_path / "bolt/test/good/001.png", size=(64, 20))
    before = sorted(tmp_path.rglob("*"))
    dataset = segad.load_mvtec(tmp_path / "bolt")
    masks = [sample.defect_mask for sample in dataset.match(fo.ViewField("defect.label") == "good")]
    assert [mask.mask_path for mask in masks] == [None] * 3
    assert not any(mask.mask.any() for mask in masks)
    assert sorted(mask.mask.shape for mask in masks) == [(20, 64), (30, 40), (30, 40)]
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"
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


def parts_of(folder: Path, parts: dict[str, tuple[tuple[int, int, int, int], int]], size: tuple[int, int]) -> None:
    """Writes masks of one box (left, top, right, bottom) and value each."""
    folder.mkdir(parents=True)
    for name, (box, value) in parts.items():
        mask = Image.new("L", size)
        mask.paste(value, box)
        mask.save(folder / name)


def make_loco(folder: Path) -> Path:
    """Two masks for logical_anomalies/000, one for structural_anomalies/000; each defect type has its value."""
    for name in ("train/good/000", "train/good/001", "validation/good/000", "test/good/000"):
        write(folder / f"{name}.png")
    truth = folder / "ground_truth"
    for defect in ("logical_anomalies", "structural_anomalies"):
        write(folder / f"test/{defect}/000.png")
    parts = {"000.png": ((0, 0, 10, 5), 255), "001.png": ((5, 0, 15, 10), 247)}
    parts_of(truth / "logical_anomalies/000", parts, (40, 30))
    parts_of(truth / "structural_anomalies/000", {"000.png": ((1, 2, 3, 4), 236)}, (40, 30))
    (folder / "defects_config.json").write_text("[]")
    return folder


def by_file(dataset: fo.Dataset, root: Path) -> dict[str, fo.Sample]:
    return {str(Path(sample.filepath).relative_to(root)): sample for sample in dataset}


def test_mvtec_loco_with_several_masks_an_image(tmp_path: Path) -> None:
    make_loco(tmp_path / "pushpins")
    before = sorted(tmp_path.rglob("*"))
    dataset = segad.load_mvtec(tmp_path)
    assert dataset.info["problems"] == []
    samples = by_file(dataset, tmp_path / "pushpins")
    assert {name: (sample.split, sample.defect.label) for name, sample in samples.items()} == {
        "train/good/000.png": ("train", "good"),
        "train/good/001.png": ("train", "good"),
        "validation/good/000.png": ("validation", "good"),
        "test/good/000.png": ("test", "good"),
        "test/logical_anomalies/000.png": ("test", "logical_anomalies"),
        "test/structural_anomalies/000.png": ("test", "structural_anomalies"),
    }
    union = np.zeros((30, 40), np.uint8)
    union[0:5, 0:10] = 255
    union[0:10, 5:15] = 255
    np.testing.assert_array_equal(samples["test/logical_anomalies/000.png"].defect_mask.mask, union)
    single = samples["test/structural_anomalies/000.png"].defect_mask.mask_path
    assert Path(single) == tmp_path / "pushpins/ground_truth/structural_anomalies/000/000.png", "nothing to merge"
    truths = read_truth(dataset, "defect_mask")
    expected = np.zeros((30, 40), bool)
    expected[2:4, 1:3] = True
    mask = truths[samples["test/structural_anomalies/000.png"].id].read((40, 30))
    assert mask is not None
    np.testing.assert_array_equal(mask, expected)
    assert truths[samples["validation/good/000.png"].id].read((40, 30)) is None
    assert all(truth.known for truth in truths.values())
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written into the user's folder"
    dataset.delete()


def test_merged_masks_of_one_name_stay_apart(tmp_path: Path) -> None:
    for index, category in enumerate(("pushpins", "screw_bag")):
        make_loco(tmp_path / category)
        write(tmp_path / category / "test/structural_anomalies/001.png")
        parts = {"000.png": ((index, 0, index + 1, 1), 255), "001.png": ((index, 1, index + 1, 2), 255)}
        parts_of(tmp_path / category / "ground_truth/structural_anomalies/001", parts, (40, 30))
        write(tmp_path / category / "test/logical_anomalies/001.png")
        parts = {"000.png": ((9, 9, 10 + index, 10), 250), "001.png": ((9, 10, 10, 11), 250)}
        parts_of(tmp_path / category / "ground_truth/logical_anomalies/001", parts, (40, 30))
    dataset = segad.load_mvtec(tmp_path)
    samples = by_file(dataset, tmp_path)
    areas = {
        name: int((sample.defect_mask.mask == 255).sum())
        for name, sample in samples.items()
        if name.endswith("001.png") and sample.defect.label != "good"
    }
    assert areas == {
        "pushpins/test/logical_anomalies/001.png": 2,
        "pushpins/test/structural_anomalies/001.png": 2,
        "screw_bag/test/logical_anomalies/001.png": 3,
        "screw_bag/test/structural_anomalies/001.png": 2,
    }
    first, second = (
        samples[f"{category}/test/structural_anomalies/001.png"].defect_mask.mask
        for category in ("pushpins", "screw_bag")
    )
    assert (first[0, 0], first[0, 1]) == (255, 0)
    assert (second[0, 0], second[0, 1]) == (0, 255)
    dataset.delete()


def test_one_bad_mask_of_several_leaves_out_all(tmp_path: Path) -> None:
    folder = make_loco(tmp_path / "pushpins")
    truth = folder / "ground_truth/logical_anomalies"
    for name in ("other_size", "no_image", "cut"):
        write(folder / f"test/logical_anomalies/{name}.png")
        parts_of(truth / name, {"000.png": ((0, 0, 9, 9), 255), "001.png": ((0, 0, 9, 9), 255)}, (40, 30))
    write(truth / "other_size/001.png", size=(20, 15), value=255)
    (truth / "no_image/001.png").write_text("not an image")
    noise = np.random.default_rng(0).integers(0, 255, (30, 40), dtype=np.uint8)
    Image.fromarray(noise).save(truth / "cut/001.png")
    (truth / "cut/001.png").write_bytes((truth / "cut/001.png").read_bytes()[:600])  # its header is whole
    parts_of(truth / "orphan", {"000.png": ((0, 0, 9, 9), 255)}, (40, 30))
    dataset = segad.load_mvtec(folder)
    problems = dataset.info["problems"]
    assert len(problems) == 4
    for text in (
        "other_size/001.png' is 20 x 15 px, its image 40 x 30 px",
        "no_image/001.png' is not an image",
        "cut/001.png'",
        "logical_anomalies/orphan' is a mask without an image",
    ):
        assert any(text in problem for problem in problems), text
    tagged = dataset.match_tags("problem")
    assert {Path(path).stem for path in tagged.values("filepath")} == {"other_size", "no_image", "cut"}
    assert tagged.values("defect_mask") == [None, None, None], "a part of them would be a wrong truth"
    dataset.delete()


def make_ad2(folder: Path) -> Path:
    for name in ("train/good/000", "validation/good/001", "test_public/good/002", "test_public/bad/003"):
        write(folder / f"{name}_regular.png")
    write(folder / "test_public/ground_truth/bad/003_regular_mask.png", value=255)
    write(folder / "test_private/004_regular.png")
    write(folder / "test_private_mixed/005_overexposed.png")
    write(folder / "test_private_mixed/006_shift_1.png")
    return folder


def test_mvtec_ad_2_with_images_of_which_nothing_is_known(tmp_path: Path) -> None:
    dataset = segad.load_mvtec(make_ad2(tmp_path / "can"))
    assert dataset.info["problems"] == []
    samples = by_file(dataset, tmp_path / "can")
    assert {
        name: (sample.split, sample.defect and sample.defect.label, sample.defect_mask is not None)
        for name, sample in samples.items()
    } == {
        "train/good/000_regular.png": ("train", "good", True),
        "validation/good/001_regular.png": ("validation", "good", True),
        "test_public/good/002_regular.png": ("test", "good", True),
        "test_public/bad/003_regular.png": ("test", "bad", True),
        "test_private/004_regular.png": ("test_private", None, False),
        "test_private_mixed/005_overexposed.png": ("test_private_mixed", None, False),
        "test_private_mixed/006_shift_1.png": ("test_private_mixed", None, False),
    }
    mask = samples["test_public/bad/003_regular.png"].defect_mask.mask_path
    assert Path(mask) == tmp_path / "can/test_public/ground_truth/bad/003_regular_mask.png"
    truths = read_truth(dataset, "defect_mask")
    unknown = {name for name, sample in samples.items() if not truths[sample.id].known}
    assert unknown == {name for name in samples if name.startswith("test_private")}
    private = dataset.match(fo.ViewField("split") == "test_private")
    assert not any(truth.known for truth in read_truth(private, "defect_mask").values())
    dataset.delete()


def test_mvtec_ad_2_problems_are_told_by_name(tmp_path: Path) -> None:
    folder = make_ad2(tmp_path / "can")
    write(folder / "test_public/bad/007_regular.png")
    write(folder / "test_public/ground_truth/bad/008_regular_mask.png", value=255)
    dataset = segad.load_mvtec(tmp_path)
    assert dataset.distinct("category.label") == ["can"]
    assert sorted(problem.split("/bad/")[1] for problem in dataset.info["problems"]) == [
        "007_regular.png' shows 'bad' but has no mask",
        "008_regular_mask.png' is a mask without an image",
    ]
    dataset.delete()


def test_a_test_set_without_any_ground_truth(tmp_path: Path) -> None:
    write(tmp_path / "bolt/train/good/000.png")
    write(tmp_path / "bolt/test/000.png")
    dataset = segad.load_mvtec(tmp_path / "bolt")
    samples = by_file(dataset, tmp_path / "bolt")
    assert samples["test/000.png"].split == "test"
    assert samples["test/000.png"].defect is None
    assert not read_truth(dataset, "defect_mask")[samples["test/000.png"].id].known
    dataset.delete()


def test_the_fields_are_there_if_nothing_is_known(tmp_path: Path) -> None:
    write(tmp_path / "can/test_private/000_regular.png")
    dataset = segad.load_mvtec(tmp_path / "can")
    assert {"category", "split", "defect", "defect_mask"} <= set(dataset.get_field_schema())
    assert [truth.known for truth in read_truth(dataset, "defect_mask").values()] == [False]
    dataset.delete()
