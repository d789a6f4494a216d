"""Objects of ground truth, as boxes or polygons mark them, drawn as masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from .classes import DEFECT, NORMAL, VOID, Classes, kind_of
from .masks import Areas, Mask, resize_mask

_FARTHEST = (-1.0, 2.0)  # relative coordinates beyond are pixels by mistake; objects may end outside of the image

BoxObject = tuple[str | None, list[float] | None, bytes | None, str | None]
"""Label, relative ``x, y, width, height``, instance mask in the database, and file of the instance mask."""

PolygonObject = tuple[str | None, list[list[tuple[float, float]]] | None, bool | None]
"""Label, shapes of relative ``(x, y)`` points, and whether they are filled."""

_Object = TypeVar("_Object", bound=tuple[Any, ...])


@dataclass(frozen=True)
class Boxes:
    """Objects with a box, and maybe an instance mask within it."""

    name: str
    objects: Sequence[BoxObject]
    kind: str = "ground truth"

    def exists(self) -> bool:
        return True

    def read(self, size: tuple[int, int]) -> Areas:
        return _unite(self.objects, size, self.draw)

    def draw(self, mask: NDArray[np.bool_], box_object: BoxObject) -> None:
        """Set the pixels of an object in a mask ``[height, width]``.

        Raises:
            ImageError: if it cannot be an object in the image
        """
        label, box, data, path = box_object
        height, width = mask.shape
        size = (width, height)
        name = f"{self.kind} '{label}' {self.name}"
        if not box or len(box) != 4 or min(box[2:]) < 0:
            raise ImageError(f"The {name} has the bounding box {box}; it must be [x, y, width, height]")
        corners = np.array([box[:2], [box[0] + box[2], box[1] + box[3]]])
        _check_inside(corners, name)
        # Boxes of pixels end at whole pixels; the smallest one still marks a pixel of the image
        (x0, y0), (x1, y1) = np.rint(corners * size).astype(int).tolist()
        x0, y0 = min(x0, width - 1), min(y0, height - 1)
        x1, y1 = max(x1, x0 + 1, 1), max(y1, y0 + 1, 1)
        inside = np.s_[max(y0, 0) : y1, max(x0, 0) : x1]
        if data is None and path is None:
            mask[inside] = True
            return
        name = f"'{label}' {self.name}"
        instance = Mask(f"of {name}" if path is None else f"'{path}'", Classes(), path, data).read(size).defect
        instance = resize_mask(instance, (x1 - x0, y1 - y0), f"The instance mask of {name}")
        part = mask[inside]
        part |= instance[max(-y0, 0) :, max(-x0, 0) :][: part.shape[0], : part.shape[1]]


@dataclass(frozen=True)
class Polygons:
    """Objects with polygons."""

    name: str
    objects: Sequence[PolygonObject]
    kind: str = "ground truth"

    def exists(self) -> bool:
        return True

    def read(self, size: tuple[int, int]) -> Areas:
        return _unite(self.objects, size, self.draw)

    def draw(self, mask: NDArray[np.bool_], polygon_object: PolygonObject) -> None:
        """Set the pixels of an object in a mask ``[height, width]``.

        Raises:
            ImageError: if it has no area, or cannot be an object in the image
        """
        label, shapes, filled = polygon_object
        name = f"{self.kind} '{label}' {self.name}"
        if not filled:
            raise ImageError(
                f"The {name} is a line, which has no area; set filled=True if it is an outline, or use a mask"
            )
        outlines = [np.array(shape, np.float64) for shape in shapes or [] if shape]
        if not outlines:
            raise ImageError(f"The {name} has no points; remove it, or draw it again")
        _check_inside(np.concatenate(outlines), name)
        fill(mask, [outline * mask.shape[::-1] for outline in outlines])


def _unite(
    objects: Sequence[_Object], size: tuple[int, int], draw: Callable[[NDArray[np.bool_], _Object], None]
) -> Areas:
    """Draw all objects but normal ones. Where a defect lies on a void object, it counts."""
    areas = {kind: np.zeros((size[1], size[0]), bool) for kind in (DEFECT, VOID)}
    for labelled in objects:
        kind = kind_of(labelled[0])
        if kind != NORMAL:
            draw(areas[kind], labelled)
    void = areas[VOID] & ~areas[DEFECT]
    return Areas(areas[DEFECT], void if void.any() else None)


def _check_inside(points: NDArray[np.float64], name: str) -> None:
    """Refuse relative points ``[n, 2]`` that cannot be of an object in the image."""
    low, high = points.min(axis=0), points.max(axis=0)
    lowest, highest = _FARTHEST
    near = (low >= lowest).all() and (high <= highest).all()  # False for NaN
    if not (near and (low <= 1).all() and (high >= 0).all()):
        raise ImageError(
            f"The {name} lies outside of its image, from {low.tolist()} to {high.tolist()}; "
            "coordinates are relative, in [0, 1]"
        )


def fill(mask: NDArray[np.bool_], shapes: Sequence[NDArray[np.float64]]) -> None:
    """Set the pixels whose centres are inside of an odd number of polygons, ``[n, 2]`` points (x, y) in pixels.

    A shape in another one is a hole. cv2.fillPoly sets the pixels of the border too, which makes small defects
    larger; here it draws, as a border, only what is too thin to hold the centre of a pixel.

    Examples:
        >>> mask = np.zeros((3, 4), bool)
        >>> fill(mask, [np.array([[1, 0], [3, 0], [3, 2], [1, 2]])])
        >>> mask.astype(int).tolist()
        [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = mask.shape
    crossed = np.zeros((height, width + 1), bool)  # from this column on, a pixel is on the other side of an edge
    for points in shapes:
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            low, high = np.clip(np.ceil(np.sort([y0, y1]) - 0.5), 0, height).astype(int)
            rows = np.arange(low, high)
            if len(rows):
                x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                crossed[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] ^= True
    inside = np.logical_xor.accumulate(crossed, axis=1)[:, :width]
    if not inside.any():
        border = np.zeros(mask.shape, np.uint8)
        outlines = [np.clip(points.astype(np.int32), 0, (width - 1, height - 1)) for points in shapes]
        cv2.polylines(border, outlines, True, 1)
        inside = border.astype(bool)
    mask |= inside
