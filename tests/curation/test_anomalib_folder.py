"""Export for anomalib's Folder: pairs as anomalib makes them, and the same images when they are loaded back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from exports import manifest, write, write_mask

READ_BY_ANOMALIB = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    """Two normal images in each split, and four defective ones, of which one has no mask."""
    source = tmp_path / "source"
    names = ["n/a.png", "n/b.JPG", "t/a.png", "t/c.png", "x/a.png", "x/a-1.JPG", "y/a.png", "y/none.png"]
    paths = [write(source / name, index) for index, name in enumerate(names)]
    masks = [write_mask(source / f"m{index}.png", index) for index in (4, 5, 6)]
    return dataset_of(
        paths,
        split=["train", "train", "test", "test", None, None, None, None],
        defect=[fo.Classification(label=label) for label in ["good"] * 4 + ["dent", "dent", "oil stain", "dent"]],
        defect_mask=[None] * 4 + [fo.Segmentation(mask_path=str(mask)) for mask in masks] + [None],
    )


def files(folder: Path) -> list[Path]:
    """The files that anomalib finds in a folder, in the order in which it has them."""
    return sorted(path for path in folder.glob("**/*") if path.suffix in READ_BY_ANOMALIB)


def pixels(path: Path | str) -> bytes:
    return np.asarray(Image.open(path)).tobytes()


def test_defective_images_and_masks_are_pairs_by_their_order(dataset: fo.Dataset, tmp_path: Path) -> None:
    done = segad.export_curated(dataset, tmp_path / "out", layout="anomalib")
    images, masks = files(done.folder / "abnormal"), files(done.folder / "masks")
    assert len(images) == len(masks) == 3
    truths = {pixels(sample.filepath): sample.defect_mask for sample in dataset}
    for image, mask in zip(images, masks, strict=True):
        assert image.stem in mask.stem, "anomalib refuses others"
        assert pixels(mask) == pixels(truths[pixels(image)].mask_path)
    assert [path.relative_to(done.folder).as_posix() for path in images] == [
        "abnormal/dent/a-1.jpg",
        "abnormal/dent/a.png",
        "abnormal/oil stain/a.png",
    ]
    assert [path.name for path in files(done.folder / "normal")] == ["a.png", "b.jpg"]
    assert [path.name for path in files(done.folder / "normal_test")] == ["a.png", "c.png"]
    assert [path.name for path in files(done.folder / "abnormal_without_mask")] == ["none.png"]
    assert done.without_mask == [dataset.last().id]
    assert manifest(done.folder)["dataset_type"] == "anomalib Folder"


def test_load_folder_reads_it_back(dataset: fo.Dataset, tmp_path: Path) -> None:
    segad.export_curated(dataset, tmp_path / "out", layout="anomalib", symlink=True)
    again = segad.load_folder(tmp_path / "out")

    def content(samples: fo.Dataset) -> set[Any]:
        return {
            (
                pixels(sample.filepath),
                sample.defect.label,
                pixels(sample.defect_mask.mask_path) if sample.defect_mask and sample.defect_mask.mask_path else None,
            )
            for sample in samples
        }

    assert content(again) == content(dataset)
    assert again.count_values("split") == {"train": 2, "test": 6}
    (problem,) = again.info["problems"]
    assert problem.endswith("none.png' shows 'dent' but has no mask")
    again.delete()


def test_the_images_that_a_run_compares_with_are_those_to_train_on(
    dataset_with_run: fo.Dataset, tmp_path: Path
) -> None:
    dataset = dataset_with_run
    dataset.set_values("split", ["train"] * len(dataset))
    compared = set(segad.load_run(dataset, "segad").store.bank.paths())
    done = segad.export_curated(dataset, tmp_path / "out", key="segad", layout="anomalib")
    sources = dict(zip(dataset.values("id"), dataset.values("filepath"), strict=True))
    placed = {sources[entry["id"]]: entry["file"].split("/")[0] for entry in manifest(done.folder)["images"]}
    assert {path for path, place in placed.items() if place == "normal"} == {
        path for path in compared if not placed[path].startswith("abnormal")
    }
    assert compared & set(placed)
    assert {place for path, place in placed.items() if path not in compared} <= {
        "normal_test",
        "abnormal",
        "abnormal_without_mask",
    }


def test_a_folder_for_each_category(dataset: fo.Dataset, tmp_path: Path) -> None:
    dataset.set_values("category", [fo.Classification(label=label) for label in ["normal", "nut"] * 4])
    done = segad.export_curated(dataset, tmp_path / "out", layout="anomalib")
    places = sorted(path.name for path in done.folder.iterdir() if path.is_dir())
    assert places == ["normal_2", "nut"], "no category is taken for a folder of normal images"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layout": "coco"}, r"layout='coco' must be one of \['mvtec', 'anomalib'\]"),
        ({"layout": "anomalib", "dataset_type": fo.types.COCODetectionDataset}, "two formats; pass one of them"),
    ],
)
def test_formats_that_cannot_be(dataset: fo.Dataset, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        segad.export_curated(dataset, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
