"""Draw samples: image, anomaly map, predicted mask and ground truth, each as a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..data.masks import read_mask
from ..data.truth import GT_FIELD, Truth, read_truth
from ..errors import ImageError
from ..registry.run import Run, load_record
from ..registry.samples import all_slices
from ..segments.boxes import PixelBox
from ..utils.drawing import fit_size, outline_boxes, outline_mask, overlay_heat, shrink_mask, tint_mask
from ..utils.grey_scale import FULL_RANGE, GreyScale
from ..utils.images import read_image
from ..utils.masks import read_mask_pixels
from . import palette

_TILE = 220
_GAP = 6
_LINE = 16
_TITLES = ("image", "anomaly map", "predicted mask", "ground truth")

_CROP_SIDE = 240
_LEAST_SHARE = 0.12
"""Side of a crop at least, as a share of the image's shorter side: a patch alone does not tell where it is."""


@dataclass
class SamplePicture:
    """One sample at the size at which it is drawn.

    Attributes:
        image: uint8 RGB array ``[height, width, 3]``
        full_size: ``(width, height)`` of the image file
        heat: anomaly map ``[height, width]`` in [0, 1]; None if it is gone
        predicted: bool array ``[height, width]``; None if it is gone
        truth: bool array ``[height, width]``; None if it is gone, or there is none
        problems: why something is gone
    """

    image: NDArray[np.uint8]
    full_size: tuple[int, int]
    heat: NDArray[np.floating] | None = None
    predicted: NDArray[np.bool_] | None = None
    truth: NDArray[np.bool_] | None = None
    problems: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: str, side: int, scale: GreyScale = FULL_RANGE) -> SamplePicture:
        """Read the image of a sample, no side of it longer than ``side`` pixels.

        Raises:
            ImageError: if it cannot be read
        """
        image = Image.fromarray(read_image(path, scale))
        small = image.resize(fit_size(image.size, side), Image.Resampling.LANCZOS)
        return cls(np.asarray(small), image.size)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]

    def read_truth(self, truth: Truth | None) -> None:
        """Read the ground truth; one that cannot be read is among ``problems``."""
        try:
            mask = truth.read(self.full_size) if truth is not None else None
        except ImageError as error:
            self.problems.append(str(error))
            return
        self.truth = np.zeros(self.image.shape[:2], bool) if mask is None else shrink_mask(mask, self.size)

    def draw_map(self) -> Image.Image | None:
        """Draw the anomaly map over the image."""
        return None if self.heat is None else Image.fromarray(overlay_heat(self.image, self.heat))

    def draw_predicted(self) -> Image.Image | None:
        """Draw the predicted mask over the grey image."""
        return _draw_mask(self.image, self.predicted)

    def draw_truth(self) -> Image.Image | None:
        """Draw the ground truth over the grey image."""
        return _draw_mask(self.image, self.truth)

    def draw_masks(self) -> Image.Image:
        """Draw the predicted mask, and the outline of the ground truth, over the grey image."""
        nothing = np.zeros(self.image.shape[:2], bool)
        masks = tint_mask(self.image, nothing if self.predicted is None else self.predicted, palette.PREDICTED)
        if self.truth is not None:
            masks = outline_mask(masks, self.truth, palette.TRUTH)
        return Image.fromarray(masks)


def contact_sheet(
    samples: Samples,
    key: str = "segad",
    path: str | Path | None = None,
    gt_field: str = GT_FIELD,
    max_samples: int = 12,
) -> Image.Image:
    """Draw image, anomaly map, predicted mask and ground truth side by side, one sample per row.

    Args:
        samples: the samples, in the order in which they are drawn
        key ("segad"): the run's key
        path (None): file to save the picture to
        gt_field ("defect_mask"): Segmentation field; left out if the dataset has none
        max_samples (12): rows at most

    Returns:
        the picture

    Raises:
        ValueError: if there is no such run, or none of the samples was scored

    Examples:
        >>> worst = dataset.sort_by("segad_score", reverse=True)  # doctest: +SKIP
        >>> segad.contact_sheet(worst, path="contact_sheet.png")  # doctest: +SKIP
    """
    run = load_record(samples, key)
    scored = all_slices(samples).exists(run.field("score")).limit(max_samples)
    if len(scored) == 0:
        raise ValueError(f"Run '{key}' scored none of the samples")
    truths = read_truth(scored, gt_field) if scored.has_sample_field(gt_field) else {}
    titles = _TITLES if truths else _TITLES[:-1]
    rows = list(scored.select_fields([run.field(name) for name in ("score", "pred", "map", "mask")]))
    row_height = _TILE + _LINE + _GAP
    sheet = Image.new("RGB", (len(titles) * (_TILE + _GAP) + _GAP, len(rows) * row_height + _LINE + _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, title in enumerate(titles):
        pen.text((_GAP + column * (_TILE + _GAP), 2), title, "black", font)
    for row, sample in enumerate(rows):
        top = _LINE + _GAP + row * row_height
        score, label = sample[run.field("score")], sample[run.field("pred")].label
        pen.text((_GAP, top), f"{short_name(sample.filepath)}   score {score:.3f}   {label}", "black", font)
        tiles = _draw_tiles(sample, run, truths.get(sample.id))
        for column, tile in enumerate(tiles[: len(titles)]):
            if tile is not None:
                sheet.paste(tile, (_GAP + column * (_TILE + _GAP), top + _LINE))
    if path is not None:
        sheet.save(path)
    return sheet


def crop_segment(path: str, box: PixelBox | None, scale: GreyScale = FULL_RANGE) -> Image.Image:
    """Draw a square around a segment of an image, with the segment outlined; all of the image if there is no box.

    Raises:
        ImageError: if the image cannot be read
    """
    image = Image.fromarray(read_image(path, scale))
    if box is None:
        image.thumbnail((_CROP_SIDE, _CROP_SIDE))
        return image
    x0, y0, x1, y1 = box
    half = max(x1 - x0, y1 - y0, _LEAST_SHARE * min(image.size)) * 0.8
    left, top = (x0 + x1) / 2 - half, (y0 + y1) / 2 - half
    zoom = _CROP_SIDE / (2 * half)
    crop = image.crop((left, top, left + 2 * half, top + 2 * half))
    crop = crop.resize((_CROP_SIDE, _CROP_SIDE), Image.Resampling.BICUBIC)
    frame = ((x0 - left) * zoom, (y0 - top) * zoom, (x1 - left) * zoom, (y1 - top) * zoom)
    return outline_boxes(crop, [frame], palette.ANOMALOUS)


def short_name(path: str) -> str:
    """Return file and folder: this tells images of a category apart, and nothing of the machine.

    >>> short_name("/data/screw/test/good/000.png")
    'good/000.png'
    """
    return "/".join([part for part in re.split(r"[\\/]", path) if part][-2:])


def _draw_tiles(sample: fo.Sample, run: Run, truth: Truth | None) -> list[Image.Image | None]:
    """Draw what the fields of a sample hold; None for what cannot be read."""
    try:
        picture = SamplePicture.open(sample.filepath, _TILE, run.grey_scale)
    except ImageError:
        return [None] * len(_TITLES)
    try:
        heat = Image.fromarray(np.asarray(read_mask_pixels(sample[run.field("map")].map_path).values, np.uint8))
        picture.heat = np.asarray(heat.resize(picture.size, Image.Resampling.BILINEAR)) / 255.0
    except ImageError as error:
        picture.problems.append(str(error))
    try:
        picture.predicted = shrink_mask(read_mask(sample[run.field("mask")].mask_path), picture.size)
    except ImageError as error:
        picture.problems.append(str(error))
    picture.read_truth(truth)
    image = Image.fromarray(picture.image)
    return [image, picture.draw_map(), picture.draw_predicted(), picture.draw_truth()]


def _draw_mask(image: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> Image.Image | None:
    return None if mask is None else Image.fromarray(tint_mask(image, mask, palette.PREDICTED))
