"""Sharpness, exposure and size of images, and which of them are unlike the others. Knows nothing of FiftyOne."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..segments.boxes import Size

DARK = 32
"""Grey values below this are dark: the lowest eighth of 0 to 255."""

ODD = 3.5
"""Modified z-score from which a value is unlike the others (Iglewicz and Hoaglin, "How to detect and handle outliers",
1993)."""

_COMMON = 0.5
"""Share of images of one size from which any other size is odd."""


@dataclass(frozen=True)
class Exposure:
    """Statistics of one image, of its grey values from 0 to 255.

    Attributes:
        size: ``(width, height)`` in pixels
        blur: variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000),
            fastdup's ``blur``: the lower, the more blurred
        brightness: mean
        contrast: standard deviation
        dark: share of pixels below ``DARK``
    """

    size: Size
    blur: float
    brightness: float
    contrast: float
    dark: float


def measure(pixels: NDArray[np.uint8]) -> Exposure:
    """Measures an RGB image ``[height, width, 3]``."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return Exposure(
        size=(grey.shape[1], grey.shape[0]),
        blur=float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        dark=float((grey < DARK).mean()),
    )


def modified_z(values: ArrayLike) -> NDArray[np.float64]:
    """How far each value is from the median, in standard deviations of a normal distribution with the same median
    absolute deviation; with the same mean absolute deviation if more than half of the values are equal.

    Returns:
        float array ``[n]``; all zero if the values are equal
    """
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return array
    away = array - np.median(array)
    spread = np.median(np.abs(away)) / 0.6745 or np.abs(away).mean() * np.sqrt(np.pi / 2)
    return away / spread if spread > 0 else np.zeros(array.shape)


def odd_sizes(sizes: Sequence[Size]) -> NDArray[np.bool_]:
    """Which sizes are unlike the others.

    If at least half of the images share one size, those are all that have another one; else those whose area or
    aspect ratio is at least ``ODD`` deviations from the median, on a logarithmic scale.
    """
    if not sizes:
        return np.zeros(0, bool)
    common, count = Counter(sizes).most_common(1)[0]
    if count >= _COMMON * len(sizes):
        return np.array([size != common for size in sizes])
    width, height = np.log(np.array(sizes, np.float64)).T
    away: NDArray[np.bool_] = np.maximum(abs(modified_z(width + height)), abs(modified_z(width - height))) >= ODD
    return away
