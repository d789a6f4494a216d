"""Measure how bright, rich in contrast and sharp an image is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

DARK = 32
"""Grey values below this are dark: the lowest eighth of 0 to 255."""


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

    size: tuple[int, int]
    blur: float
    brightness: float
    contrast: float
    dark: float


def measure(pixels: NDArray[np.uint8]) -> Exposure:
    """Measure an RGB image ``[height, width, 3]``.

    Examples:
        >>> pixels = np.zeros((2, 4, 3), np.uint8)
        >>> pixels[:, 2:] = 200  # the right half
        >>> exposure = measure(pixels)
        >>> exposure.size, exposure.brightness, exposure.contrast, exposure.dark
        ((4, 2), 100.0, 100.0, 0.5)
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return Exposure(
        size=(grey.shape[1], grey.shape[0]),
        blur=float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        dark=float((grey < DARK).mean()),
    )
