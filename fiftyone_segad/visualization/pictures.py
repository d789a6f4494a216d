"""Pictures of a run for people without the App at hand."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import fiftyone as fo
import matplotlib
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..data.truth import GT_FIELD, Truth, read_truth
from ..errors import ImageError
from ..registry.run import Run, load_run
from ..utils.images import read_image, read_mask, read_mask_values

_TILE = 220
_GAP = 6
_LINE = 16
_TITLES = ("image", "anomaly map", "predicted mask", "ground truth")
_HOT = 0.55
"""Opacity of the hottest pixels of a map over its image."""
_OUTLINE, _EDGE = (0, 220, 255), (0, 0, 0)
"""Cyan with a black edge, which is seen on any picture and on the red of predicted masks."""


def contact_sheet(
    samples: Samples,
    key: str = "segad",
    path: str | Path | None = None,
    gt_field: str = GT_FIELD,
    max_samples: int = 12,
) -> Image.Image:
    """Draws image, anomaly map, predicted mask and ground truth side by side, one sample a row.

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
    """
    run = load_run(samples, key)
    scored = samples.exists(run.field("score")).limit(max_samples)
    if len(scored) == 0:
        raise ValueError(f"Run '{key}' scored none of the samples")
    truths = read_truth(scored, gt_field) if scored.has_sample_field(gt_field) else {}
    titles = _TITLES if truths else _TITLES[:-1]
    rows = list(scored.select_fields([run.field(name) for name in ("score", "pred", "map", "mask")]))
    row_height = _TILE + _LINE + _GAP
    sheet = Image.new("RGB", (len(titles) * (_TILE + _GAP) + _GAP, len(rows) * row_height + _LINE + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((_GAP + column * (_TILE + _GAP), 2), title, "black", ImageFont.load_default(12))
    for row, sample in enumerate(rows):
        top = _LINE + _GAP + row * row_height
        score, label = sample[run.field("score")], sample[run.field("pred")].label
        text = f"{short_name(sample.filepath)}   score {score:.3f}   {label}"
        pen.text((_GAP, top), text, "black", ImageFont.load_default(12))
        try:
            image = read_image(sample.filepath)
        except ImageError:
            continue  # gone since it was scored; its row stays empty, as tiles do whose masks are gone
        for column, title in enumerate(titles):
            try:
                thumbnail = Image.fromarray(_tile(title, image, sample, run, truths.get(sample.id)))
            except ImageError:
                continue
            thumbnail.thumbnail((_TILE, _TILE))
            sheet.paste(thumbnail, (_GAP + column * (_TILE + _GAP), top + _LINE))
    if path is not None:
        sheet.save(path)
    return sheet


def short_name(path: str) -> str:
    """The file and its folder: what tells images of a category apart, and nothing of the machine."""
    return "/".join([part for part in re.split(r"[\\/]", path) if part][-2:])


def overlay(image: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """An image ``[height, width, 3]`` under a map ``[height, width]`` in [0, 1]."""
    colours = matplotlib.colormaps["inferno"](heat)[..., :3] * 255
    opacity = (0.25 + (_HOT - 0.25) * heat)[..., None]
    return np.asarray(image * (1 - opacity) + colours * opacity, np.uint8)


def tinted(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image in grey with the mask in red."""
    result = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    result[mask] = result[mask] * 0.4 + np.array([255, 0, 0]) * 0.6
    return result.astype(np.uint8)


def outlined(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image with a line around the mask, outside of it, so that a mask of a single pixel is seen too."""
    square = np.ones((3, 3), np.uint8)
    near, line, edge = (cv2.dilate(mask.astype(np.uint8), square, iterations=by) > 0 for by in (1, 3, 4))
    result = image.copy()
    result[edge & ~near] = _EDGE
    result[line & ~near] = _OUTLINE
    return result


def _tile(title: str, image: NDArray[np.uint8], sample: fo.Sample, run: Run, truth: Truth | None) -> NDArray[np.uint8]:
    if title == "anomaly map":
        return overlay(image, _read_heat(sample[run.field("map")].map_path, image))
    if title == "predicted mask":
        return tinted(image, read_mask(sample[run.field("mask")].mask_path))
    return tinted(image, _read_truth(truth, image)) if title == "ground truth" else image


def _read_heat(path: str, image: NDArray[np.uint8]) -> NDArray[np.floating]:
    heat = Image.fromarray(np.asarray(read_mask_values(path), np.uint8))
    return np.asarray(heat.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR)) / 255.0


def _read_truth(truth: Truth | None, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    mask = truth.read((image.shape[1], image.shape[0])) if truth is not None else None
    return mask if mask is not None else np.zeros(image.shape[:2], bool)
