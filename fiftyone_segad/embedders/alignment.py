"""Parts on a plain ground, turned to one angle and cut out of it. Knows nothing of FiftyOne.

Few images of parts that lie at any angle hold none that lies like a given one, and then the part is odd as a whole; a
speck on the ground is odd too, but no defect. Both are gone where every part is shown alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import Size

_SIDE = 256
"""Pixels of the longer side of the image in which the part is sought."""

_CONTRAST = 0.35
"""Difference from the ground from which a pixel is of the part, relative to that of the most different 2 %."""

_MARGIN = 4
"""Pixels of these around the part that are kept of the ground."""

LARGEST_PART = 0.5
"""Share of the image above which what differs from its median colour is not a part on a plain ground."""


@dataclass(frozen=True)
class Aligned:
    """A part that was turned.

    Attributes:
        pixels: uint8 RGB array ``[height, width, 3]`` of the part, its longer axis across, on a ground of one colour
        back: float array ``[2, 3]`` that takes points ``(x, y, 1)`` of it to the image that it was cut from
    """

    pixels: NDArray[np.uint8]
    back: NDArray[np.float64]


def align(pixels: NDArray[np.uint8]) -> Aligned:
    """Turn the part on an image.

    The part is the largest connected region that differs from the median colour. Its principal axis is laid across, the
    end with more of it (the head of a screw) to the left.

    Args:
        pixels: uint8 RGB array ``[height, width, 3]``

    Raises:
        ValueError: if the image is blank, or no part lies on a plain ground
    """
    part, scale = _part(pixels)
    y, x = np.nonzero(part)
    centre = np.array([x.mean(), y.mean()])
    points = np.stack([x, y], axis=1) - centre
    along = np.linalg.eigh(points.T @ points)[1][:, 1]
    if ((points @ along) ** 3).mean() < 0:
        along = -along
    axes = np.stack([along, [-along[1], along[0]]])
    extent = points @ axes.T
    low, high = extent.min(axis=0) - 2 * _MARGIN, extent.max(axis=0) + 2 * _MARGIN
    # From the cut-out to the image: its axes, and its corner at the lowest extent
    back = np.hstack([axes.T, ((centre + low @ axes) / scale)[:, None]])
    width, height = np.ceil((high - low) / scale).astype(int).tolist()
    ground = np.median(pixels.reshape(-1, 3), axis=0)
    turn = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    fill = tuple(ground.tolist())
    turned = cv2.warpAffine(pixels, back, (width, height), flags=turn, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
    kept = cv2.resize(_soft(part), (pixels.shape[1], pixels.shape[0]))
    kept = cv2.warpAffine(kept, back, (width, height), flags=turn)[..., None]
    return Aligned(np.rint(turned * kept + ground * (1 - kept)).astype(np.uint8), back)


def map_boxes_back(back: NDArray[np.float64], boxes: NDArray[np.int64], size: Size) -> NDArray[np.float64]:
    """Upright boxes around boxes on a turned part.

    Args:
        back: of the part
        boxes: ``[n, 4]`` of ``x0, y0, x1, y1`` on it
        size: ``(width, height)`` of the image

    Returns:
        float array ``[n, 4]`` of ``x0, y0, x1, y1`` in the image, clipped to it
    """
    x0, y0, x1, y1 = boxes.T
    corners = np.stack([[x0, x1, x1, x0], [y0, y0, y1, y1], np.ones((4, len(boxes)))])  # [3, 4, n]
    x, y = np.tensordot(back, corners, axes=1)
    found = np.stack([x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)], axis=1)
    return found.clip(0, [*size, *size])


def _part(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], float]:
    """The part in a smaller image, and the scale of that."""
    scale = min(1.0, _SIDE / max(pixels.shape[:2]))
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    away = np.abs(cv2.GaussianBlur(small, (0, 0), 1) - np.median(small))
    differs = away > max(_CONTRAST * float(np.quantile(away, 0.98)), 1)
    if differs.mean() > LARGEST_PART:
        raise ValueError(
            f"It shows no part on a plain ground: {differs.mean():.0%} of it differ from its median colour"
        )
    count, labels, figures, _ = cv2.connectedComponentsWithStats(differs.astype(np.uint8))
    if count < 2:
        raise ValueError("It shows no part on a plain ground: it is blank")
    largest = 1 + int(figures[1:, cv2.CC_STAT_AREA].argmax())
    return labels == largest, scale


def _soft(part: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What is kept of the image, 1 on the part and fading to 0 beside it."""
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _MARGIN + 1, 2 * _MARGIN + 1))
    wide = cv2.dilate(part.astype(np.float32), around)
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), _MARGIN - 1), np.float32)
