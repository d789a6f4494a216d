"""Outlines of masks as SVG paths."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.utils.outlines import UNITS, contours, outline


def filled(path: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill a path at ``size``, holes left out."""
    scale = np.array(size) / UNITS
    polygons = [
        np.rint(np.array(re.findall(r"(\d+) (\d+)", part), float) * scale).astype(np.int32)
        for part in path.split("Z")
        if part
    ]
    canvas = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(canvas, polygons, 1)
    return canvas.astype(bool)


def overlap(path: str, mask: NDArray[np.bool_]) -> float:
    """Intersection over union of a filled path and its mask, large enough that filled edges count little."""
    factor = max(1, 1000 // mask.shape[1])
    large = mask.repeat(factor, axis=0).repeat(factor, axis=1)
    area = filled(path, large.shape[::-1])
    return float((area & large).sum() / (area | large).sum())


@pytest.mark.parametrize("size", [(40, 30), (800, 600), (3000, 2000)])
def test_a_filled_outline_is_its_mask(size: tuple[int, int]) -> None:
    width, height = size
    y, x = np.mgrid[:height, :width]
    disc = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2
    assert overlap(outline(disc), disc) > 0.95


def test_holes_and_separate_pieces_stay() -> None:
    mask = np.zeros((60, 90), bool)
    mask[10:50, 10:50] = True
    mask[20:40, 20:40] = False
    mask[5:15, 70:80] = True
    assert outline(mask).count("M") == 3
    assert overlap(outline(mask), mask) > 0.95


def test_a_region_is_placed_where_its_box_is() -> None:
    path = outline(np.ones((4, 8), bool), (0.25, 0.5, 0.5, 0.25))
    points = np.array(re.findall(r"(\d+) (\d+)", path), int)
    assert points.min(axis=0).tolist() == [2500, 5000] and points.max(axis=0).tolist() == [7500, 7500]


def test_nothing_has_no_outline() -> None:
    assert outline(np.zeros((5, 5), bool)) == ""


def test_a_single_pixel_has_one() -> None:
    assert outline(np.ones((1, 1), bool), (0.0, 0.0, 0.5, 0.5)).startswith("M")


def test_lines_of_a_map_lie_in_each_other() -> None:
    y, x = np.mgrid[:50, :50]
    hill = 30.0 - np.hypot(x - 25, y - 25)
    low, high = (filled(line, (50, 50)) for line in contours(hill, [10.0, 20.0]))
    assert (high & ~low).sum() == 0 and low.sum() > 2 * high.sum() > 0
