"""Pictures of a run for people without the App at hand."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from PIL import Image, ImageDraw, ImageFont

from .errors import ImageError
from .images import read_image, read_mask
from .runs import load_run
from .truth import GT_FIELD, read_truth

_TILE = 220
_GAP = 6
_LINE = 16
_TITLES = ("image", "anomaly map", "predicted mask", "ground truth")
_HOT = 0.55
"""Opacity of the hottest pixels of a map over its image."""


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
        name = "/".join(Path(sample.filepath).parts[-2:])
        text = f"{name}   score {sample[run.field('score')]:.3f}   {sample[run.field('pred')].label}"
        pen.text((_GAP, top), text, "black", ImageFont.load_default(12))
        try:
            image = read_image(sample.filepath)
        except ImageError:
            continue  # gone since it was scored; its row stays empty
        size = (image.shape[1], image.shape[0])
        predicted = read_mask(sample[run.field("mask")].mask_path)
        tiles = [image, _overlay(image, sample[run.field("map")].map_path), _tinted(image, predicted)]
        if truths:
            truth = truths[sample.id].read(size)
            tiles.append(_tinted(image, truth if truth is not None else np.zeros(image.shape[:2], bool)))
        for column, tile in enumerate(tiles):
            thumbnail = Image.fromarray(tile)
            thumbnail.thumbnail((_TILE, _TILE))
            sheet.paste(thumbnail, (_GAP + column * (_TILE + _GAP), top + _LINE))
    if path is not None:
        sheet.save(path)
    return sheet


def _overlay(image: np.ndarray, map_path: str) -> np.ndarray:
    with Image.open(map_path) as file:
        heat = np.asarray(file.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR)) / 255.0
    colours = matplotlib.colormaps["inferno"](heat)[..., :3] * 255
    opacity = (0.25 + (_HOT - 0.25) * heat)[..., None]
    return np.asarray(image * (1 - opacity) + colours * opacity, np.uint8)


def _tinted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image in grey with the mask in red."""
    tinted = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    tinted[mask] = tinted[mask] * 0.4 + np.array([255, 0, 0]) * 0.6
    return tinted.astype(np.uint8)
