"""Masks of ground truth by their values, on images of 8 x 6 px."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_segad.data.masks import read_mask
from fiftyone_segad.data.truth import read_truth
from fiftyone_segad.errors import ImageError
from truths import BOTH, CLASSES, ONLY_7, SIZE, MakeDataset, pixels, save, truths_of


def palette(values: np.ndarray, colours: list[int]) -> Image.Image:
    image = Image.fromarray(values, "P")
    image.putpalette(colours)
    return image


@pytest.mark.parametrize("stored", ["file", "database"])
@pytest.mark.parametrize(
    ("targets", "default", "expected"),
    [
        # Nothing is named: all that is nonzero is defective
        ({}, {}, BOTH),
        # Names of no normal class
        ({0: "background", 3: "dent", 7: "scratch"}, {}, BOTH),
        # A normal class, whatever its case and spaces
        ({3: " Good", 7: "scratch"}, {}, ONLY_7),
        ({}, {3: "normal"}, ONLY_7),
        # The field's own targets come first
        ({3: "dent"}, {3: "normal"}, BOTH),
        # As colours, #030303 is the grey 3
        ({"#030303": "none", "#070707": "scratch"}, {}, ONLY_7),
    ],
)
def test_class_values(
    dataset_of: MakeDataset,
    tmp_path: Path,
    stored: str,
    targets: dict[Any, str],
    default: dict[Any, str],
    expected: list[str],
) -> None:
    label = fo.Segmentation(mask=CLASSES)
    if stored == "file":
        label = fo.Segmentation(mask_path=save(tmp_path / "classes.png", Image.fromarray(CLASSES)))
    dataset = dataset_of([Path("/images/0.png")], gt=[label])
    dataset.mask_targets = {"gt": targets} if targets else {}
    dataset.default_mask_targets = default
    for samples in (dataset, dataset.limit(1)):
        assert pixels(read_truth(samples, "gt")[dataset.first().id].read(SIZE)) == expected


RED, GREEN, GREY = (255, 0, 0), (0, 255, 0), (9, 9, 9)


def coloured(left: tuple[int, ...], right: tuple[int, ...]) -> np.ndarray:
    """A mask whose pixel (1, 0) has one colour, and (2, 0) another."""
    values = np.zeros((6, 8, len(left)), np.uint8)
    values[0, 1], values[0, 2] = left, right
    return values


@pytest.mark.parametrize("stored", ["file", "database"])
@pytest.mark.parametrize(
    ("values", "targets", "expected"),
    [
        (coloured(RED, GREEN), {}, ".##....."),
        (coloured(RED, GREEN), {"#ff0000": "scratch", "#00FF00": "OK"}, ".#......"),
        # A name for 0 says nothing of colours
        (coloured(RED, GREEN), {0: "background", 255: "dent"}, ".##....."),
        # Grey in three channels: numbers may name it too
        (coloured(GREY, (5, 5, 5)), {9: "good"}, "..#....."),
        # What is not drawn is no defect, whatever its colour
        (coloured((255, 0, 0, 255), (0, 1, 0, 0)), {}, ".#......"),
        (coloured((3, 255), (3, 0)), {3: "dent"}, ".#......"),
        # Where only black is drawn, it is the mark
        (coloured((0, 0, 0, 255), (0, 0, 0, 128)), {255: "defect"}, ".##....."),
        (coloured((0, 255), (255, 0)), {}, ".#......"),
    ],
    ids=["colours", "named", "zero", "grey", "undrawn", "undrawn-grey", "alpha", "grey-alpha"],
)
def test_colours(
    dataset_of: MakeDataset, tmp_path: Path, stored: str, values: np.ndarray, targets: dict[Any, str], expected: str
) -> None:
    label = fo.Segmentation(mask=values)
    if stored == "file":
        label = fo.Segmentation(mask_path=save(tmp_path / "colours.png", Image.fromarray(values)))
    dataset = dataset_of([Path("/images/0.png")], gt=[label])
    dataset.mask_targets = {"gt": targets} if targets else {}
    (truth,) = read_truth(dataset, "gt").values()
    assert pixels(truth.read(SIZE)) == [expected] + ["........"] * 5


def test_palettes_are_colours_or_the_numbers_that_are_named(dataset_of: MakeDataset, tmp_path: Path) -> None:
    values = CLASSES // 3  # 0, 1 and 2
    file = save(tmp_path / "palette.png", palette(values, [0, 0, 0, 0, 255, 0, 255, 0, 0]))
    dataset = dataset_of([Path("/images/0.png")], gt=[fo.Segmentation(mask_path=file)])
    for targets, expected in (({}, BOTH), ({1: "good"}, ONLY_7), ({"#00ff00": "good"}, ONLY_7)):
        dataset.mask_targets = {"gt": targets} if targets else {}
        (truth,) = read_truth(dataset, "gt").values()
        assert pixels(truth.read(SIZE)) == expected, targets


def test_masks_of_other_number_types(dataset_of: MakeDataset) -> None:
    whole = CLASSES.astype(np.float32)
    truths = truths_of(dataset_of, [fo.Segmentation(mask=mask) for mask in (CLASSES > 0, whole, CLASSES[..., None])])
    assert [pixels(truth.read(SIZE)) for truth in truths] == [BOTH, BOTH, BOTH]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        pytest.param(CLASSES / 10, r"in 'gt' of sample \w{24} holds fractions.*make it 0 and 255", id="fractions"),
        pytest.param(np.full((6, 8), np.nan), "holds fractions or other values", id="nan"),
        pytest.param(np.zeros((6, 8, 7), np.uint8), r"shape \(6, 8, 7\)", id="seven channels"),
        pytest.param(np.zeros((0, 8), np.uint8), "is empty", id="empty"),
    ],
)
def test_masks_that_are_refused(dataset_of: MakeDataset, mask: np.ndarray, message: str) -> None:
    (truth,) = truths_of(dataset_of, [fo.Segmentation(mask=mask)])
    with pytest.raises(ImageError, match=message):
        truth.read(SIZE)


def test_colours_whose_names_are_numbers_are_refused(dataset_of: MakeDataset) -> None:
    dataset = dataset_of([Path("/images/0.png")], gt=[fo.Segmentation(mask=coloured(RED, GREEN))])
    dataset.mask_targets = {"gt": {255: "good"}}
    (truth,) = read_truth(dataset, "gt").values()
    with pytest.raises(ImageError, match="has colours, but the dataset's mask_targets have numbers; use '#rrggbb'"):
        truth.read(SIZE)


@pytest.mark.parametrize("kind", ["L", "1", "I;16", "RGB", "RGBA", "LA", "P"])
def test_mask_is_what_is_not_zero(tmp_path: Path, kind: str) -> None:
    truth = np.array([[0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]], bool)
    image = Image.fromarray(truth.astype(np.uint8))  # the lowest value that is not zero
    if kind == "1":
        image = Image.fromarray(truth)
    elif kind == "I;16":
        image = Image.fromarray(truth.astype(np.uint16))
    elif kind == "RGB":  # in the last channel only
        image = Image.merge("RGB", [Image.new("L", image.size), Image.new("L", image.size), image])
    elif kind == "RGBA":  # alpha 255 everywhere is no defect
        image = Image.merge("RGBA", [image, *[Image.new("L", image.size)] * 2, Image.new("L", image.size, 255)])
    elif kind == "LA":
        image = Image.merge("LA", [image, Image.new("L", image.size, 255)])
    elif kind == "P":
        image = Image.fromarray(np.where(truth, 1, np.arange(4) % 2 * 2).astype(np.uint8), "P")
        image.putpalette([0, 0, 0, 0, 128, 0, 0, 0, 0])  # entries 0 and 2 are black
    mask = read_mask(save(tmp_path / "mask.png", image))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, truth)
