"""Draw on images: boxes, heat, masks and outlines, at the pixel. Colours are ``"#rrggbb"``."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

_COOLEST, _HOTTEST = 0.25, 0.55
"""Opacity of the lowest and of the highest value of a map over its image."""

_EDGE = "#000000"
"""Around outlines, so that they are seen on any picture."""


def outline_boxes(
    image: Image.Image, boxes: Iterable[Sequence[float]], colour: str, line_width: int = 2
) -> Image.Image:
    """Draw boxes ``x0, y0, x1, y1`` in pixels, ends exclusive, on a copy of an image.

    Examples:
        >>> picture = outline_boxes(Image.new("RGB", (5, 5)), [(1, 1, 4, 4)], "#ff0000", line_width=1)
        >>> [picture.getpixel((x, 2))[0] for x in range(5)]
        [0, 255, 0, 255, 0]
    """
    picture = image.copy()
    pen = ImageDraw.Draw(picture)
    for x0, y0, x1, y1 in boxes:
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=line_width)
    return picture


def overlay_heat(image: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Lay a map over an image: from nearly clear black over red to yellow, the hotter the less clear.

    Args:
        image: uint8 RGB array ``[height, width, 3]``
        heat: map ``[height, width]`` in [0, 1]
    """
    levels = np.minimum(heat * 256, 255).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]  # BGR to RGB
    opacity = (_COOLEST + (_HOTTEST - _COOLEST) * heat)[..., None]
    return np.asarray(image * (1 - opacity) + colours * opacity, np.uint8)


def tint_mask(image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: str) -> NDArray[np.uint8]:
    """Paint a mask ``[height, width]`` over an image ``[height, width, 3]`` that is made grey.

    Examples:
        >>> tint_mask(np.full((1, 2, 3), 50, np.uint8), np.array([[False, True]]), "#ff0000").tolist()
        [[[50, 50, 50], [173, 20, 20]]]
    """
    picture = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    picture[mask] = picture[mask] * 0.4 + np.array(ImageColor.getrgb(colour)) * 0.6
    return picture.astype(np.uint8)


def outline_mask(image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: str) -> NDArray[np.uint8]:
    """Draw a line around a mask, outside of it, so that even a mask of a single pixel is seen."""
    square = np.ones((3, 3), np.uint8)
    inside, line, edge = (cv2.dilate(mask.astype(np.uint8), square, iterations=pixels) > 0 for pixels in (1, 3, 4))
    picture = image.copy()
    picture[edge & ~inside] = ImageColor.getrgb(_EDGE)
    picture[line & ~inside] = ImageColor.getrgb(colour)
    return picture


def shrink_mask(mask: NDArray[np.generic], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Resize a mask to ``(width, height)``; a pixel is set if any of those that it stands for is nonzero.

    So something stays of what is small.

    Examples:
        >>> shrink_mask(np.eye(4, dtype=bool), (2, 2)).tolist()
        [[True, False], [False, True]]
    """
    height, width = mask.shape
    enlarges = size[0] > width or size[1] > height
    method = cv2.INTER_NEAREST if enlarges else cv2.INTER_AREA
    # As floats: the mean of a few set pixels among integers would round to nothing
    resized = cv2.resize((mask != 0).astype(np.float32), size, interpolation=method)
    small: NDArray[np.bool_] = resized > 0
    return small


def fit_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Scale ``(width, height)`` down so that neither is longer than ``side``.

    Examples:
        >>> fit_size((1600, 800), 320), fit_size((96, 80), 320)
        ((320, 160), (96, 80))
    """
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def jpeg_url(image: Image.Image, quality: int = 85) -> str:
    """Return an image as a ``data:`` URL of a JPEG file, which a page shows without loading anything.

    Examples:
        >>> jpeg_url(Image.new("RGB", (8, 8)))[:27]
        'data:image/jpeg;base64,/9j/'
    """
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
