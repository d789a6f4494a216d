"""Parts on a plain ground, laid straight and cut out of it before an embedder gets them.

Few images of parts that lie at any angle hold none that lies like a given one, and then all of the part is odd; a
speck on the ground is odd too, but no defect. Both are gone where every part is shown alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..segments.turned import lay_back
from ..utils.images import rotate
from .base import Embedder, Patches

_SEARCH_SIDE = 256
"""Pixels of the longer side of the image in which the part is sought."""

_CONTRAST = 0.35
"""Difference from the ground from which a pixel is of the part, relative to that of the most different 2 %."""

_MARGIN = 4
"""Pixels of the ground that are left around the part, in the image in which it is sought."""

LARGEST_PART = 0.5
"""Share of the image above which what differs from its median colour is not a part on a plain ground."""


def aligned_patches(embedder: Embedder, image: NDArray[np.uint8], angle: float = 0) -> list[Patches]:
    """Compute the features of the part on an image as an embedder does that gets nothing but the part, laid straight.

    Where no part lies on a plain ground, they are those of the image as it is.

    Args:
        embedder: the embedder
        image: uint8 RGB array ``[height, width, 3]``
        angle (0): degrees by which the straight part is turned before

    Returns:
        features and segments, which lie on the straight part unless that is turned

    Raises:
        ValueError: if the image, or the part, is too small
    """
    try:
        part = align(image)
    except ValueError:
        return embedder.patches(rotate(image, angle))
    size = (image.shape[1], image.shape[0])
    levels = embedder.patches(rotate(part.pixels, angle))
    return [Patches(lay_back(size, level.segments, part.back), level.features) for level in levels]


@dataclass(frozen=True)
class Aligned:
    """A part that was turned.

    Attributes:
        pixels: uint8 RGB array ``[height, width, 3]`` of the part, its longer axis across, on a ground of one colour
        back: float array ``[2, 3]`` that takes points ``(x, y, 1)`` of it to the image that it was cut from, see
            ``TurnedSegments``
        share: share in (0, 1] that the part has of all that differs from the ground
    """

    pixels: NDArray[np.uint8]
    back: NDArray[np.float64]
    share: float


def align(pixels: NDArray[np.uint8]) -> Aligned:
    """Turn the part on an image.

    The part is the largest connected region that differs from the median colour. Its principal axis is laid across, the
    end with more of it (the head of a screw) to the left.

    Args:
        pixels: uint8 RGB array ``[height, width, 3]``

    Raises:
        ValueError: if the image is blank, or no part lies on a plain ground

    Examples:
        >>> image = np.full((100, 80, 3), 200, np.uint8)
        >>> image[20:80, 35:45] = 0  # an upright bar
        >>> height, width, _ = align(image).pixels.shape
        >>> width > 2 * height  # it is laid across
        True
    """
    part, scale, share = _find_part(pixels)
    y, x = np.nonzero(part)
    centre = np.array([x.mean(), y.mean()])
    points = np.stack([x, y], axis=1) - centre  # [n, 2]
    along = np.linalg.eigh(points.T @ points)[1][:, 1]  # the direction in which they vary most
    if ((points @ along) ** 3).mean() < 0:  # the long tail of a skewed distribution is away from the heavy end
        along = -along
    axes = np.stack([along, [-along[1], along[0]]])  # rows: along and across the part
    coordinates = points @ axes.T  # [n, 2] from the centre along these axes
    low, high = coordinates.min(axis=0) - 2 * _MARGIN, coordinates.max(axis=0) + 2 * _MARGIN
    # From the cut-out to the image: its axes, and its corner at the lowest coordinates
    back = np.hstack([axes.T, ((centre + low @ axes) / scale)[:, None]])
    width, height = np.ceil((high - low) / scale).astype(int).tolist()
    ground = np.median(pixels.reshape(-1, 3), axis=0)
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    turned = cv2.warpAffine(pixels, back, (width, height), flags=flags, borderValue=tuple(ground.tolist()))
    opacity = cv2.resize(_fade(part), (pixels.shape[1], pixels.shape[0]))
    opacity = cv2.warpAffine(opacity, back, (width, height), flags=flags)[..., None]
    back[:, 2] += 0.5 - back[:, :2].sum(axis=1) / 2  # from the centres of pixels, which OpenCV counts, to their corners
    return Aligned(np.rint(turned * opacity + ground * (1 - opacity)).astype(np.uint8), back, share)


def _find_part(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], float, float]:
    """Find the pixels of the part in a smaller image; also return the scale of that, and the part's share."""
    scale = min(1.0, _SEARCH_SIDE / max(pixels.shape[:2]))
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    difference = np.abs(cv2.GaussianBlur(small, (0, 0), 1) - np.median(small))
    differs = difference > max(_CONTRAST * float(np.quantile(difference, 0.98)), 1)
    if differs.mean() > LARGEST_PART:
        raise ValueError(
            f"It shows no part on a plain ground: {differs.mean():.0%} of it differ from its median colour"
        )
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(differs.astype(np.uint8))
    if count < 2:
        raise ValueError("It shows no part on a plain ground: it is blank")
    areas = statistics[1:, cv2.CC_STAT_AREA]  # of the regions but the ground
    return labels == 1 + int(areas.argmax()), scale, float(areas.max() / areas.sum())


def _fade(part: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return an opacity of the image: 1 on the part, fading to 0 beside it."""
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _MARGIN + 1, 2 * _MARGIN + 1))
    wide = cv2.dilate(part.astype(np.float32), around)
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), _MARGIN - 1), np.float32)
