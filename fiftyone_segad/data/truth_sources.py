"""Ground truth of one image, as masks, boxes or polygons hold it: which of its pixels are defective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import fiftyone.core.fields as fof
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..errors import ImageError
from ..utils.images import read_mask_values

NORMAL_NAMES = frozenset({"background", "good", "normal", "ok", "none"})
"""Names, in lower case, of classes and objects that are no defects."""

_GREY = 0x010101  # times a grey value: the same grey as an RGB number
_FARTHEST = (-1.0, 2.0)  # relative coordinates beyond are pixels by mistake; objects may end outside of the image


class Source(Protocol):
    """Where the ground truth of an image is."""

    @property
    def name(self) -> str:
        """The file, or the field and the sample, as errors name it."""

    def read(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Read the defective pixels, for an image of ``size`` but maybe of another size."""


@dataclass(frozen=True)
class Classes:
    """The values of a mask that are no defects besides 0, as numbers or as colours 0xRRGGBB."""

    normal: frozenset[int] = frozenset()
    colours: bool = False

    @classmethod
    def of(cls, samples: Samples, gt_field: str) -> Classes:
        targets = samples.mask_targets.get(gt_field) or samples.default_mask_targets or {}
        normal = [value for value, name in targets.items() if is_normal(name)]
        if all(fof.is_integer_target(value) for value in normal):
            return cls(frozenset(int(value) for value in normal) - {0})
        return cls(frozenset(fof.hex_to_int(value) for value in normal) - {0}, colours=True)

    def defective(self, values: NDArray[Any], name: str) -> NDArray[np.bool_]:
        """The pixels that are defects, of a mask ``[height, width]`` or ``[height, width, channels]``."""
        if values.ndim == 3 and values.shape[2] in (1, 2):  # grey, maybe with alpha
            values = values[..., 0]
        elif values.ndim == 3 and values.shape[2] in (3, 4):
            values = values[..., :3]
        elif values.ndim != 2:
            raise ImageError(f"{name} has the shape {values.shape}; it must be height x width, or have colours too")
        if values.size == 0:
            raise ImageError(f"{name} is empty; remove it, or make it of the image's size")
        if values.dtype.kind not in "biu" and not (values.dtype.kind == "f" and (values == np.rint(values)).all()):
            raise ImageError(f"{name} holds fractions or other values that are no classes; make it 0 and 255")
        mask: NDArray[np.bool_] = np.not_equal(values.max(axis=2) if values.ndim == 3 else values, 0)
        if not self.normal:
            return mask
        if self.colours:
            channel = values.astype(np.int64)
            codes = channel @ [1 << 16, 1 << 8, 1] if values.ndim == 3 else channel * _GREY
        elif values.ndim == 3:
            codes = values[..., 0]
            if (values != codes[..., None]).any():
                raise ImageError(f"{name} has colours, but the dataset's mask_targets have numbers; use '#rrggbb'")
        else:
            codes = values
        return mask & ~np.isin(codes, list(self.normal))


@dataclass(frozen=True)
class Mask:
    """A mask of the whole image, in a file or (compressed) in the database."""

    name: str
    classes: Classes
    path: str | None
    data: bytes | None

    def read(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        return self.classes.defective(self._values(), f"The ground-truth mask {self.name}")

    def _values(self) -> NDArray[Any]:
        if self.data is None:
            assert self.path is not None
            return read_mask_values(self.path, palette=self.classes.colours or not self.classes.normal)
        try:
            return np.asarray(fou.deserialize_numpy_array(self.data))
        except Exception as error:  # zlib's, numpy's and Python's own errors for damaged data
            raise ImageError(f"Cannot decode the ground-truth mask {self.name}: {error}") from error


@dataclass(frozen=True)
class Boxes:
    """Objects with a box, and maybe an instance mask within it: label, box, mask in the database, file of the mask."""

    name: str
    objects: list[tuple[str | None, list[float] | None, bytes | None, str | None]]

    def read(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        result = np.zeros((size[1], size[0]), bool)
        for label, box, data, path in self.objects:
            if is_normal(label):
                continue
            name = f"'{label}' {self.name}"
            if not box or len(box) != 4 or min(box[2:]) < 0:
                raise ImageError(
                    f"The ground truth {name} has the bounding box {box}; it must be [x, y, width, height]"
                )
            corners = np.array([box[:2], [box[0] + box[2], box[1] + box[3]]])
            _check_inside(corners, name)
            # Boxes of pixels end at whole pixels; the smallest one still marks a pixel of the image
            (x0, y0), (x1, y1) = np.rint(corners * size).astype(int).tolist()
            x0, y0 = min(x0, size[0] - 1), min(y0, size[1] - 1)
            x1, y1 = max(x1, x0 + 1, 1), max(y1, y0 + 1, 1)
            inside = np.s_[max(y0, 0) : y1, max(x0, 0) : x1]
            if data is None and path is None:
                result[inside] = True
                continue
            instance = Mask(f"of {name}" if path is None else f"'{path}'", Classes(), path, data).read(size)
            instance = _nearest(instance, (x1 - x0, y1 - y0), f"The instance mask of {name}")
            part = result[inside]
            part |= instance[max(-y0, 0) :, max(-x0, 0) :][: part.shape[0], : part.shape[1]]
        return result


@dataclass(frozen=True)
class Polygons:
    """Objects with polygons: label, shapes of relative ``(x, y)`` points, and whether they are filled."""

    name: str
    objects: list[tuple[str | None, list[list[tuple[float, float]]] | None, bool | None]]

    def read(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        result = np.zeros((size[1], size[0]), bool)
        for label, shapes, filled in self.objects:
            if is_normal(label):
                continue
            name = f"'{label}' {self.name}"
            if not filled:
                raise ImageError(
                    f"The ground truth {name} is a line, which has no area; set filled=True if it is an outline, "
                    "or use a mask"
                )
            outlines = [np.array(shape, np.float64) for shape in shapes or [] if shape]
            if not outlines:
                raise ImageError(f"The ground truth {name} has no points; remove it, or draw it again")
            _check_inside(np.concatenate(outlines), name)
            _fill(result, [outline * size for outline in outlines])
        return result


def is_normal(name: str | None) -> bool:
    """Whether a class or an object of this name is no defect."""
    return name is not None and name.strip().lower() in NORMAL_NAMES


def _check_inside(points: NDArray[np.float64], name: str) -> None:
    """Refuses relative points ``[n, 2]`` that cannot be of an object in the image."""
    low, high = points.min(axis=0), points.max(axis=0)
    lowest, highest = _FARTHEST
    near = (low >= lowest).all() and (high <= highest).all()  # False for NaN
    if not (near and (low <= 1).all() and (high >= 0).all()):
        raise ImageError(
            f"The ground truth {name} lies outside of its image, from {low.tolist()} to {high.tolist()}; "
            "coordinates are relative, in [0, 1]"
        )


def fitted(mask: NDArray[np.bool_], size: tuple[int, int], name: str) -> NDArray[np.bool_]:
    """The mask at the size of its image, which must have its aspect ratio, but for a pixel of rounding."""
    height, width = mask.shape
    if abs(width * size[1] - height * size[0]) >= max(size):
        raise ImageError(
            f"{name} is {width} x {height} px, its image {size[0]} x {size[1]} px, which is another aspect ratio; "
            "give it the image's size"
        )
    return _nearest(mask, size, name)


def _nearest(mask: NDArray[np.bool_], size: tuple[int, int], name: str) -> NDArray[np.bool_]:
    """The mask at a size (width, height), each pixel from the nearest one."""
    if mask.shape == (size[1], size[0]):
        return mask
    resized = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
    if mask.any() and not resized.any():
        raise ImageError(f"{name} is too fine: resized to {size[0]} x {size[1]} px nothing of it is left")
    return resized


def _fill(mask: NDArray[np.bool_], shapes: list[NDArray[np.float64]]) -> None:
    """Set the pixels whose centres are inside of an odd number of polygons, ``[n, 2]`` points (x, y) in pixels.

    A shape in another one is a hole. cv2.fillPoly sets the pixels of the border too, which makes small defects
    larger; here it draws, as a border, only what is too thin to hold the centre of a pixel.
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
