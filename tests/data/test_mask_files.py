"""Masks of ground truth as real tools write them: with loss, turned, transparent, in palettes, with void classes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_segad.data.classes import Classes
from fiftyone_segad.data.masks import Areas, read_mask, sort_pixels
from fiftyone_segad.data.truth import read_truth
from fiftyone_segad.errors import ImageError
from fiftyone_segad.utils.masks import MaskPixels, read_mask_pixels
from truths import MakeDataset, save

SQUARE = np.zeros((90, 120), np.uint8)
SQUARE[30:60, 30:60] = 255


def areas_of(make: MakeDataset, file: str, targets: dict[Any, str], size: tuple[int, int] = (120, 90)) -> Areas:
    dataset = make([Path("/images/0.png")], gt=[fo.Segmentation(mask_path=file)])
    dataset.mask_targets = {"gt": targets} if targets else {}
    (truth,) = read_truth(dataset, "gt").values()
    areas = truth.read_areas(size)
    assert areas is not None
    return areas


def encoded(values: np.ndarray, kind: str, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file


LOSSY = [
    *(("jpg", {"quality": quality}) for quality in (95, 90, 75, 50, 30)),
    *(("webp", {"quality": quality}) for quality in (80, 30)),
    ("avif", {"quality": 60}),
    ("jp2", {"irreversible": True, "quality_layers": [10]}),
    ("tif", {"compression": "jpeg", "quality": 75}),
]


@pytest.mark.parametrize("targets", [{}, {255: "defect"}, {0: "background", 1: "defect"}])
@pytest.mark.parametrize(("kind", "options"), LOSSY)
def test_what_compression_adds_to_a_mask_is_no_defect(
    dataset_of: MakeDataset, tmp_path: Path, kind: str, options: dict[str, Any], targets: dict[int, str]
) -> None:
    path = tmp_path / f"mask.{kind}"
    Image.fromarray(SQUARE).save(path, **options)
    np.testing.assert_array_equal(areas_of(dataset_of, str(path), targets).defect, SQUARE > 0)


@pytest.mark.parametrize("colour", [(255, 0, 0), (255, 255, 255), (0, 200, 255)])
def test_a_compressed_mask_may_be_in_colour(dataset_of: MakeDataset, tmp_path: Path, colour: tuple[int, ...]) -> None:
    path = tmp_path / "mask.jpg"
    Image.fromarray((SQUARE[..., None] > 0) * np.array(colour, np.uint8)).save(path, quality=90, subsampling=0)
    np.testing.assert_array_equal(areas_of(dataset_of, str(path), {255: "defect"}).defect, SQUARE > 0)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_the_values_of_loco_are_all_defects(dataset_of: MakeDataset, tmp_path: Path, kind: str) -> None:
    values = np.zeros((64, 96), np.uint8)
    for index, value in enumerate(range(234, 256, 3)):
        values[16:32, 8 * index : 8 * index + 8] = value
    path = tmp_path / f"mask.{kind}"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(areas_of(dataset_of, str(path), {}, (96, 64)).defect, values > 0)


@pytest.mark.parametrize(("kind", "options"), [("png", {}), ("webp", {"lossless": True}), ("jp2", {}), ("tif", {})])
def test_grey_values_without_loss_are_classes_of_their_own(
    dataset_of: MakeDataset, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    values = np.zeros((40, 60), np.uint8)
    for value in (1, 2, 100, 255):
        values[10:20, 3 * (value % 17) : 3 * (value % 17) + 3] = value
    path = tmp_path / f"mask.{kind}"
    Image.fromarray(values).save(path, **options)
    areas = areas_of(dataset_of, str(path), {2: "good", 100: "void"}, (60, 40))
    np.testing.assert_array_equal(areas.defect, np.isin(values, (1, 255)))
    np.testing.assert_array_equal(areas.void, values == 100)


@pytest.mark.parametrize(
    ("levels", "targets", "message"),
    [
        ((60, 255), {}, "more than two classes"),
        ((128, 255), {}, "more than two classes"),
        ((255, 255), {1: "defect", 255: "void"}, "more than two classes"),
        ((255, 255), {200: "dent", 255: "void"}, "more than two classes"),
        ((255, 255), {"#ff0000": "dent", "#ffffff": "good"}, "more than two classes"),
        ((1, 2), {1: "dent"}, r"almost black \(at most \d of 255\)"),
    ],
)
def test_classes_that_compression_has_mixed_are_refused(
    dataset_of: MakeDataset, tmp_path: Path, levels: tuple[int, int], targets: dict[Any, str], message: str
) -> None:
    values = np.zeros((90, 120), np.uint8)
    values[16:32, 16:32], values[48:72, 64:96] = levels
    path = tmp_path / "mask.jpg"
    Image.fromarray(values).save(path, quality=95)
    with pytest.raises(ImageError, match=rf"mask\.jpg' is compressed with loss and.*{message}.*save it as PNG"):
        areas_of(dataset_of, str(path), targets)


@pytest.mark.parametrize("quality", [95, 40, 5])
def test_a_compressed_black_mask_is_empty(dataset_of: MakeDataset, tmp_path: Path, quality: int) -> None:
    path = tmp_path / "mask.jpg"
    Image.new("L", (120, 90)).save(path, quality=quality)
    assert not areas_of(dataset_of, str(path), {255: "defect"}).defect.any()


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_as_its_image_is(tmp_path: Path, kind: str, orientation: int) -> None:
    values = np.zeros((30, 50), np.uint8)
    values[:8, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"mask.{kind}"
    Image.fromarray(values).save(path, exif=exif, **({"lossless": True} if kind == "webp" else {}))
    # By the EXIF standard: where the first row and the first column of the file are shown
    turned = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.T,
        6: values.T[:, ::-1],
        7: values.T[::-1, ::-1],
        8: values.T[::-1],
    }[orientation]
    np.testing.assert_array_equal(read_mask(str(path)), turned > 0)


@pytest.mark.parametrize("name", ["void", "ignore", "Ignored", "__ignore__", "don't care"])
def test_void_pixels_are_neither_defective_nor_normal(dataset_of: MakeDataset, tmp_path: Path, name: str) -> None:
    values = SQUARE // 255
    values[:10] = 255
    path = save(tmp_path / "mask.png", Image.fromarray(values))
    areas = areas_of(dataset_of, path, {0: "background", 1: "dent", 255: name})
    np.testing.assert_array_equal(areas.defect, values == 1)
    np.testing.assert_array_equal(areas.void, values == 255)


def test_void_colours_and_compressed_void(dataset_of: MakeDataset, tmp_path: Path) -> None:
    colours = np.zeros((90, 120, 3), np.uint8)
    colours[:20], colours[30:60, 30:60] = (255, 255, 255), (255, 0, 0)
    path = save(tmp_path / "mask.png", Image.fromarray(colours))
    areas = areas_of(dataset_of, path, {"#FFFFFF": "void", "#ff0000": "dent"})
    assert (areas.defect.sum(), areas.void.sum()) == (900, 2400)
    path = save(tmp_path / "mask.jpg", Image.fromarray(SQUARE))
    areas = areas_of(dataset_of, path, {255: "void"})
    assert (areas.defect.sum(), areas.void.sum()) == (0, 900)


@pytest.mark.parametrize("kind", ["png", "jpg", "palette", "bits"])
def test_a_defect_may_be_black(dataset_of: MakeDataset, tmp_path: Path, kind: str) -> None:
    picture = Image.fromarray(255 - SQUARE)
    if kind == "palette":
        picture = Image.fromarray(1 - SQUARE // 255, "P")
        picture.putpalette([0, 0, 0, 255, 255, 255])
    if kind == "bits":
        picture = picture.convert("1")
    path = tmp_path / f"mask.{'jpg' if kind == 'jpg' else 'png'}"
    picture.save(path)
    areas = areas_of(dataset_of, str(path), {0: "defect", 255: "good"})
    np.testing.assert_array_equal(areas.defect, SQUARE > 0)


def test_a_black_defect_in_colours(dataset_of: MakeDataset, tmp_path: Path) -> None:
    path = save(tmp_path / "mask.png", Image.fromarray(255 - SQUARE).convert("RGB"))
    areas = areas_of(dataset_of, path, {"#000000": "defect", "#ffffff": "good"})
    np.testing.assert_array_equal(areas.defect, SQUARE > 0)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({0: "crack"}, "say that 0 is no background and name no normal class"),
        ({0: "void", 255: "dent"}, "say that 0 is no background and name no normal class"),
        ({0: "crack", 3: "ok"}, "holds 255, which the dataset's mask_targets do not name, while they say that 0 is a"),
    ],
)
def test_targets_that_leave_open_what_is_normal_are_refused(
    dataset_of: MakeDataset, tmp_path: Path, targets: dict[int, str], message: str
) -> None:
    path = save(tmp_path / "mask.png", Image.fromarray(SQUARE))
    with pytest.raises(ImageError, match=message):
        areas_of(dataset_of, path, targets)


def rgba(colour: tuple[int, int, int], alpha: np.ndarray) -> Image.Image:
    picture = Image.new("RGB", (120, 90), colour)
    picture.putalpha(Image.fromarray(alpha))
    return picture


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        # White all over, drawn only in the square
        (rgba((255, 255, 255), SQUARE), SQUARE > 0),
        # A transparent overlay of a colour
        (rgba((255, 0, 0), SQUARE // 2), SQUARE > 0),
        # Alpha alone says where
        (rgba((0, 0, 0), SQUARE), SQUARE > 0),
        # Nothing is drawn
        (rgba((255, 255, 255), SQUARE * 0), np.zeros((90, 120), bool)),
        # Black all over is no defect
        (rgba((0, 0, 0), SQUARE * 0 + 255), np.zeros((90, 120), bool)),
    ],
    ids=["white", "overlay", "alpha", "nothing", "black"],
)
def test_transparent_masks(dataset_of: MakeDataset, tmp_path: Path, picture: Image.Image, expected: np.ndarray) -> None:
    path = save(tmp_path / "mask.png", picture)
    np.testing.assert_array_equal(areas_of(dataset_of, path, {255: "defect"}).defect, expected)


VIRIDIS = [68, 1, 84, 253, 231, 37]


@pytest.mark.parametrize(
    ("colours", "options", "expected"),
    [
        ([0, 0, 0, 255, 255, 255], {}, SQUARE > 0),
        # All black: nobody sees anything, so the numbers say it
        ([0] * 6, {}, SQUARE > 0),
        # Nothing is black: 0 is the background, in a colour
        (VIRIDIS, {}, SQUARE > 0),
        # What is transparent is not drawn
        ([255, 255, 255, 255, 0, 0], {"transparency": 0}, SQUARE > 0),
    ],
    ids=["usual", "black", "viridis", "transparent"],
)
def test_palettes(
    dataset_of: MakeDataset, tmp_path: Path, colours: list[int], options: dict[str, Any], expected: np.ndarray
) -> None:
    picture = Image.fromarray(SQUARE // 255, "P")
    picture.putpalette(colours)
    path = tmp_path / "mask.png"
    picture.save(path, **options)
    np.testing.assert_array_equal(areas_of(dataset_of, str(path), {255: "defect"}).defect, expected)


def test_a_palette_with_a_void_border(dataset_of: MakeDataset, tmp_path: Path) -> None:
    """As in Pascal VOC: 0 is black, 1 dark red, 255 a light border."""
    numbers = SQUARE // 255
    numbers[28:30, 28:62] = 255
    picture = Image.fromarray(numbers, "P")
    picture.putpalette([0, 0, 0, 128, 0, 0, *[0] * (253 * 3), 224, 224, 192])
    areas = areas_of(dataset_of, save(tmp_path / "mask.png", picture), {0: "background", 1: "dent", 255: "void"})
    np.testing.assert_array_equal(areas.defect, numbers == 1)
    np.testing.assert_array_equal(areas.void, numbers == 255)


def test_an_animation_without_loss_is_known_as_such(tmp_path: Path) -> None:
    frames = [Image.fromarray(SQUARE), Image.fromarray(255 - SQUARE)]
    for lossless in (True, False):
        path = tmp_path / f"{lossless}.webp"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=lossless)
        assert read_mask_pixels(str(path)).lossy != lossless


def test_arrays_without_a_file() -> None:
    truth = np.array([[True, False]])
    for mask in (truth, truth * 1.0, truth * 7, (truth * 65535).astype(np.uint16)):
        np.testing.assert_array_equal(sort_pixels(MaskPixels.of(mask), Classes(), "It").defect, truth)
