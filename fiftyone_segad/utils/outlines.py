"""Outlines of masks and maps as paths of an SVG picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNITS = 10_000
"""Width and height of an image in the units of the paths."""

_SIDE = 512
"""Pixels of the longer side of a mask that is traced; larger ones are made smaller first."""

_DETAIL = 4
"""How many times larger a small mask is traced, so that its outline runs along its pixels."""


def outline(mask: NDArray[np.bool_], box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)) -> str:
    """Trace the outlines of a mask.

    Args:
        mask: bool array ``[height, width]``
        box: relative ``x, y, width, height`` of the mask in its image

    Returns:
        the ``d`` of an SVG path, in ``UNITS`` per side of the image; empty if the mask is

    Examples:
        >>> outline(np.ones((2, 2), bool), (0.5, 0.5, 0.25, 0.25))
        'M5000 5000L5000 7500L7500 7500L7500 5000Z'
    """
    shapes = [np.rint(points * UNITS).astype(int).tolist() for points in outline_points(mask, box)]
    return "".join("M" + "L".join(f"{across} {down}" for across, down in points) + "Z" for points in shapes)


def outline_points(
    mask: NDArray[np.bool_], box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
) -> list[NDArray[np.float64]]:
    """Trace the outlines of a mask as closed lines through relative points ``[p, 2]`` of ``x, y``; args of ``outline``.

    Examples:
        >>> [points.tolist() for points in outline_points(np.ones((2, 2), bool), (0.5, 0.5, 0.25, 0.25))]
        [[[0.5, 0.5], [0.5, 0.75], [0.75, 0.75], [0.75, 0.5]]]
    """
    import cv2  # here, so that the package imports in no time

    height, width = mask.shape
    factor = min(_DETAIL, _SIDE / max(height, width))
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    traced = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(traced, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    x, y, w, h = box
    # A contour runs through the centres of pixels; stretched to the edge, it runs along the box's own
    scale = np.array([w / max(size[0] - 1, 1), h / max(size[1] - 1, 1)])
    return [cv2.approxPolyDP(one, 0.75, closed=True).reshape(-1, 2) * scale + (x, y) for one in contours]  # [p, 2]


def contours(values: NDArray[np.floating], levels: list[float]) -> list[str]:
    """Trace the lines along which a map crosses some levels.

    Args:
        values: array ``[height, width]``
        levels: the levels

    Returns:
        an SVG path per level, as of ``outline``

    Examples:
        >>> contours(np.array([[0.0, 0.0], [0.0, 9.0]]), [1.0, 10.0])[1]
        ''
    """
    return [outline(values > level) for level in levels]
