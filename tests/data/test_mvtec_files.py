"""Folders as they are found on disks: each image is loaded or named with the reason, and nothing else is told."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.data.image_files import OTHER_SUFFIXES
from fiftyone_segad.data.layouts.mvtec import category_names
from fiftyone_segad.utils.images import FORMATS
from fiftyone_segad.utils.listing import IMAGE_SUFFIXES

Load = Callable[..., fo.Dataset]


@pytest.fixture
def load() -> Load:
    """Loads folders; the datasets are deleted after the test."""
    names: list[str] = []

    def load_folder(folder: Path, **options: object) -> fo.Dataset:
        dataset = segad.load_mvtec(folder, **options)
        names.append(dataset.name)
        return dataset

    yield load_folder  # type: ignore[misc]
    for name in names:
        fo.delete_dataset(name)


def write(path: Path, value: int = 100, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 30), value).save(path, **options)
    return path


@pytest.fixture
def category(tmp_path: Path) -> Path:
    """A category of one good and one defective test image."""
    for name in ("train/good/000.png", "test/good/000.png", "test/cut/000.png"):
        write(tmp_path / "bolt" / name)
    write(tmp_path / "bolt/ground_truth/cut/000_mask.png", 255)
    return tmp_path / "bolt"


def loaded(dataset: fo.Dataset, folder: Path) -> dict[str, str | None]:
    """The defect type of each image, by its path."""
    paths = [str(Path(path).relative_to(folder)) for path in dataset.values("filepath")]
    return dict(zip(paths, dataset.values("defect.label"), strict=True))


USUAL = {"train/good/000.png": "good", "test/good/000.png": "good", "test/cut/000.png": "cut"}


@pytest.mark.parametrize(
    "name",
    [
        *("train/good/._000.png", "train/good/.ipynb_checkpoints/000-checkpoint.png", "test/.ipynb_checkpoints/0.png"),
        *("test/cut/.hidden/000.png", "test/.DS_Store", "train/.good/000.png", "ground_truth/cut/._000_mask.png"),
        *("ground_truth/.ipynb_checkpoints/000_mask.png", "test/__MACOSX/cut/000.png", "test/cut/@eaDir/000.png"),
        ".git/train/good/000.png",
    ],
)
def test_hidden_files_and_folders_are_passed_over(category: Path, load: Load, name: str) -> None:
    path = category / name
    write(path.with_suffix(".png")).rename(path) if path.suffix != ".png" else write(path)
    for folder in (category, category.parent):
        dataset = load(folder)
        assert loaded(dataset, category) == USUAL
        assert dataset.info["problems"] == []


@pytest.mark.parametrize(
    "name", ["test/cut/Thumbs.db", "ground_truth/cut/Thumbs.db", "train/readme.txt", "license.txt", "test/notes.md"]
)
def test_files_that_are_no_images_are_no_problem(category: Path, load: Load, name: str) -> None:
    (category / name).write_bytes(b"text")
    dataset = load(category)
    assert loaded(dataset, category) == USUAL and dataset.info["problems"] == []


def test_a_folder_that_is_called_like_an_image_is_none(category: Path, load: Load) -> None:
    write(category / "train/good/001.png/inner.png")
    dataset = load(category)
    assert loaded(dataset, category) == {**USUAL, "train/good/001.png/inner.png": "good"}
    assert dataset.info["problems"] == []


def test_folders_within_those_of_good_and_of_defects(category: Path, load: Load, tmp_path: Path) -> None:
    for name in ("train/good/line 1/001.png", "train/good/line 1/day 2/001.png", "test/cut/line 1/000.png"):
        write(category / name)
    write(category / "ground_truth/cut/line 1/000_mask.png", 255)
    elsewhere = write(tmp_path / "elsewhere/000.png").parent
    (category / "train/good/linked").symlink_to(elsewhere)
    (category / "train/good/round").symlink_to(category / "train/good")
    dataset = load(category)
    assert loaded(dataset, category) == {
        **USUAL,
        "train/good/line 1/001.png": "good",
        "train/good/line 1/day 2/001.png": "good",
        "train/good/linked/000.png": "good",
        "test/cut/line 1/000.png": "cut",
    }
    assert dataset.info["problems"] == []
    masks = dict(zip(loaded(dataset, category), dataset.values("defect_mask.mask_path"), strict=True))
    assert masks["test/cut/line 1/000.png"] == str(category / "ground_truth/cut/line 1/000_mask.png")
    assert masks["test/cut/000.png"] == str(category / "ground_truth/cut/000_mask.png")


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_formats(category: Path, load: Load, suffix: str) -> None:
    image = write(category / f"test/cut/001{suffix.upper()}", format=Image.registered_extensions()[suffix])
    write(category / "ground_truth/cut/001_mask.png", 255)
    dataset = load(category)
    assert dataset.info["problems"] == []
    sample = dataset[str(image)]
    assert sample.media_type == "image" and sample.metadata.width == 40
    assert sample.defect_mask.mask_path == str(category / "ground_truth/cut/001_mask.png")


def test_every_suffix_of_the_formats_is_known() -> None:
    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    assert set(IMAGE_SUFFIXES) | {".avifs", ".pfm"} == suffixes, "sequences and fractions are no images of a camera"
    assert not set(IMAGE_SUFFIXES) & OTHER_SUFFIXES


def test_machines_that_know_few_media_types(category: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    mimetypes.init()
    for suffix in (".jp2", ".avif", ".jfif", ".webp"):
        write(category / f"train/good/{suffix[1:]}{suffix}", format=Image.registered_extensions()[suffix])
        for strict in (True, False):
            monkeypatch.delitem(mimetypes._db.types_map[strict], suffix, raising=False)  # type: ignore[attr-defined]
    assert load(category).media_type == "image"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("train/good/001.heic", "001.heic' is not read; convert it to one of .png"),
        ("test/cut/001.npy", "001.npy' is not read; convert it"),
        ("ground_truth/cut/001_mask.npy", "001_mask.npy' is not read; convert it"),
        ("train/good/001", "001' is not read: its suffix is none of an image; rename it"),
        ("train/good/001.png.bak", "001.png.bak' is not read: its suffix is none of an image; rename it"),
        ("val/good/000.png", "val' is none of ['train', 'validation', 'test', 'test_public'"),
        ("001.png", "bolt' holds 1 image outside of ['train',"),
        ("ground_truth/000_mask.png", "ground_truth/000_mask.png' is a mask without an image"),
    ],
)
def test_images_that_are_not_loaded_are_named(category: Path, load: Load, name: str, said: str) -> None:
    (category / name).parent.mkdir(parents=True, exist_ok=True)
    write(category / "x.png").rename(category / name)
    dataset = load(category)
    assert loaded(dataset, category) == USUAL
    (problem,) = dataset.info["problems"]
    assert said in problem


def test_folders_that_are_no_categories_are_named(category: Path, load: Load) -> None:
    write(category.parent / "nuts/000.png")
    write(category.parent / "papers/figure.pdf.png").rename(category.parent / "papers/figure.pdf")
    (problem,) = load(category.parent).info["problems"]
    assert "nuts' is none of ['bolt']: 1 image in it not loaded" in problem
    assert load(category.parent, categories="bolt").info["problems"] == [], "others were not asked for"


def test_two_images_never_share_a_mask(category: Path, load: Load) -> None:
    bmp = write(category / "test/cut/000.bmp")
    write(category / "test/good/000.bmp")
    dataset = load(category)
    assert len(dataset) == 5
    said = f"000_mask.png' could be the mask of '{bmp}' or '{bmp.with_suffix('.png')}'; name them differently"
    assert [said in problem for problem in dataset.info["problems"]] == [True, True]
    tagged = dataset.match_tags("problem")
    assert set(tagged.values("filepath")) == {str(bmp), str(bmp.with_suffix(".png"))}
    assert tagged.values("defect_mask") == [None, None]


def test_good_images_may_have_zero_masks_of_any_name(category: Path, load: Load) -> None:
    write(category / "test/good/000.bmp")
    for name in ("000.png", "000_mask.png"):
        write(category / "ground_truth/good" / name, 0)
    dataset = load(category)
    assert dataset.info["problems"] == [] and len(dataset) == 4
    good = dataset.match(fo.ViewField("defect.label") == "good")
    assert not any(mask.mask.any() for mask in good.values("defect_mask"))


def test_two_images_of_one_name_with_a_mask_of_each_suffix(category: Path, load: Load) -> None:
    bmp = write(category / "test/cut/000.bmp")
    mask = write(category / "ground_truth/cut/000_mask.bmp", 255)
    dataset = load(category)
    assert dataset.info["problems"] == []
    assert dataset[str(bmp)].defect_mask.mask_path == str(mask)
    assert dataset[str(bmp.with_suffix(".png"))].defect_mask.mask_path == str(mask.with_suffix(".png"))


@pytest.mark.parametrize("other", ["000_mask.bmp", "000.png", "000/part.png"])
def test_two_masks_of_one_image_are_refused(category: Path, load: Load, other: str) -> None:
    write(category / "ground_truth/cut" / other, 255)
    dataset = load(category)
    (problem,) = dataset.info["problems"]
    assert "are both masks of" in problem and "000_mask.png" in problem and Path(other).name in problem
    assert dataset.match_tags("problem").values("defect_mask") == [None]


def test_a_mask_may_have_the_name_of_its_image_and_any_suffix(category: Path, load: Load) -> None:
    """As in BTAD, where images are BMP and masks PNG."""
    mask = category / "ground_truth/cut/000_mask.png"
    mask.rename(mask.with_name("000.png"))
    image = category / "test/cut/000.png"
    image.unlink()
    write(image.with_suffix(".bmp"))
    dataset = load(category)
    assert dataset.info["problems"] == []
    assert dataset[str(image.with_suffix(".bmp"))].defect_mask.mask_path == str(mask.with_name("000.png"))


@pytest.mark.parametrize("name", ["ok", "OK", "normal", "Good", "defect_free"])
def test_names_of_good(category: Path, load: Load, name: str) -> None:
    for split in ("train", "test"):
        (category / split / "good").rename(category / split / name)
    dataset = load(category)
    assert dataset.info["problems"] == []
    assert dataset.count_values("defect.label") == {"good": 2, "cut": 1}
    assert all(mask is not None for mask in dataset.values("defect_mask"))


LATIN_1 = os.fsdecode("größe.png".encode("latin-1"))


def test_a_name_that_is_not_utf_8_is_told_and_the_others_are_loaded(
    category: Path, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    write(category / "train/good/x.png").rename(category / "train/good" / LATIN_1)
    write(category / "test/cut/x.png").rename(category / "test/cut" / LATIN_1)
    mask = os.fsdecode("größe_mask.png".encode("latin-1"))
    write(category / "ground_truth/cut/x.png", 255).rename(category / "ground_truth/cut" / mask)
    dataset = load(category)
    assert loaded(dataset, category) == USUAL
    problems = dataset.info["problems"]
    assert len(problems) == 2, "the mask of an image that is told is no problem of its own"
    assert all(r"gr\xf6\xdfe.png' is not loaded: its name is not UTF-8; rename it" in problem for problem in problems)
    caplog.text.encode()


def test_other_names_that_are_not_utf_8(category: Path, load: Load) -> None:
    """A folder of defects, the part of a mask, and all there is."""
    kind = os.fsdecode("Riß".encode("latin-1"))
    write(category / "test/x/000.png").parent.rename(category / "test" / kind)
    (category / "ground_truth/cut/000_mask.png").unlink()
    write(category / "ground_truth/cut/000/x.png", 255).rename(category / "ground_truth/cut/000" / LATIN_1)
    dataset = load(category)
    assert loaded(dataset, category) == USUAL
    (problem,) = dataset.info["problems"]
    assert r"Ri\xdf/000.png' is not loaded" in problem
    assert dataset[str(category / "test/cut/000.png")].defect_mask.mask.all()
    for name in USUAL:
        (category / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"no images that can be loaded.*The first: .*not UTF-8"):
        load(category)


def test_a_category_whose_name_is_not_utf_8(category: Path, load: Load) -> None:
    other = category.parent / os.fsdecode("Müsli".encode("latin-1"))
    write(other / "train/good/000.png")
    assert category_names(category.parent) == ["bolt"], "others could not be chosen in a form"
    dataset = load(category.parent)
    assert loaded(dataset, category) == USUAL
    (problem,) = dataset.info["problems"]
    assert r"M\xfcsli/train/good/000.png' is not loaded" in problem


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp", "png"])
def test_more_than_one_page_or_frame_is_told(category: Path, load: Load, suffix: str) -> None:
    frames = [Image.new("L", (40, 30), value) for value in (0, 200)]
    for name in ("test/cut/001", "ground_truth/cut/001_mask"):
        frames[0].save(category / f"{name}.{suffix}", save_all=True, append_images=frames[1:])
    dataset = load(category)
    problems = dataset.info["problems"]
    assert len(problems) == 2 and len(dataset) == 4
    for name, problem in zip(("001", "001_mask"), problems, strict=True):
        assert problem.endswith(f"{name}.{suffix}' has more than one page or frame; only the first is read")


def test_a_smaller_version_in_a_tiff_is_no_page(category: Path, load: Load) -> None:
    pages = Image.new("L", (40, 30)), Image.new("L", (20, 15))
    pages[1].encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(category / "test/good/001.tif", save_all=True, append_images=pages[1:])
    with Image.open(category / "test/good/001.tif") as image:
        image.seek(1)
        assert image.tag_v2[254] == 1
    assert load(category).info["problems"] == []


def test_what_is_loaded_does_not_depend_on_this_packages_folder(
    category: Path, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIFTYONE_SEGAD_DIR", str(tmp_path / "segad"))
    write(category / "test/cut/001.png")
    for value, part in ((0, "a"), (255, "b")):
        write(category / f"ground_truth/cut/001/{part}.png", value)
    dataset = load(category)
    assert not (tmp_path / "segad").exists()
    np.testing.assert_array_equal(dataset[str(category / "test/cut/001.png")].defect_mask.mask, 255)
