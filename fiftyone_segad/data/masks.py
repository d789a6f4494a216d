"""Masks of ground truth: which pixels of an image are defective, and of which nothing is known."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import fiftyone.core.utils as fou
import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..utils.masks import MaskPixels, read_mask_pixels
from ..utils.object_storage import is_url
from .classes import DEFECT, NORMAL, VOID, Classes

_GREY = 0x010101  # times a grey value: the same grey as an RGB number

_DARK, _BRIGHT = 1 / 8, 3 / 4
"""Shares of the brightest value of a mask below and above which a pixel that was compressed with loss was 0, or was
marked. MVTec LOCO marks defects by 234 to 255 of 255."""

_PLATEAU = 5
"""Width and height in pixels of an even area. Compression blurs edges; it makes no such area between their values."""


@dataclass(frozen=True)
class Areas:
    """Where an image is defective, and where nobody says whether it is.

    Attributes:
        defect: bool array ``[height, width]``
        void: bool array ``[height, width]``, where ``defect`` is False; None if there is no such pixel
        more_frames: whether the file that they are from has more pages or frames, which were not read
    """

    defect: NDArray[np.bool_]
    void: NDArray[np.bool_] | None = None
    more_frames: bool = False

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """The defects; None if there are none."""
        return self.defect if self.defect.any() else None

    @property
    def known(self) -> bool:
        """Whether anything is known of the image."""
        return self.void is None or not self.void.all()

    def without(self, ignored: NDArray[np.bool_] | None) -> Areas:
        """Return the areas with pixels ``[height, width]`` void that do not count; None for none.

        Examples:
            >>> areas = Areas(np.array([[True, True, False]])).without(np.array([[True, False, False]]))
            >>> areas.defect.tolist(), areas.void.tolist()
            ([[False, True, False]], [[True, False, False]])
        """
        if ignored is None or not ignored.any():
            return self
        void = ignored if self.void is None else self.void | ignored
        return replace(self, defect=self.defect & ~ignored, void=void)

    def resized(self, size: tuple[int, int], name: str) -> Areas:
        """Resize to an image's size, which must have the same aspect ratio, but for a pixel of rounding.

        Raises:
            ImageError: if the aspect ratio is another one, or nothing would be left of the defects
        """
        height, width = self.defect.shape
        if abs(width * size[1] - height * size[0]) >= max(size):
            raise ImageError(
                f"{name} is {width} x {height} px, its image {size[0]} x {size[1]} px, which is another aspect ratio; "
                "give it the image's size"
            )
        defect = resize_mask(self.defect, size, name)
        return replace(self, defect=defect, void=None if self.void is None else _nearest(self.void, size) & ~defect)


class Source(Protocol):
    """A place where the ground truth of an image is."""

    @property
    def name(self) -> str:
        """The file, or the field and the sample, as errors name it."""

    def exists(self) -> bool:
        """Return whether it can be read at all: False if its file is gone."""

    def read(self, size: tuple[int, int]) -> Areas:
        """Read the areas, for an image of ``size`` but maybe of another size."""


@dataclass(frozen=True)
class Mask:
    """A mask of an image, in a file or (compressed) in the database."""

    name: str
    classes: Classes
    path: str | None
    data: bytes | None

    def exists(self) -> bool:
        return self.data is not None or self.path is None or is_url(self.path) or os.path.isfile(self.path)

    def read(self, size: tuple[int, int]) -> Areas:
        pixels = self.pixels()
        areas = sort_pixels(pixels, self.classes, f"The ground-truth mask {self.name}")
        return replace(areas, more_frames=pixels.more_frames)

    def pixels(self) -> MaskPixels:
        """Decode the mask.

        Raises:
            ImageError: if that is impossible
        """
        if self.data is None:
            assert self.path is not None
            return read_mask_pixels(self.path)
        try:
            return MaskPixels.of(np.asarray(fou.deserialize_numpy_array(self.data)))
        except Exception as error:  # zlib's, numpy's and Python's own errors for damaged data
            raise ImageError(f"Cannot decode the ground-truth mask {self.name}: {error}") from error


def read_mask(path: str) -> NDArray[np.bool_]:
    """Read the marked pixels of a mask file whose values have no names.

    Returns:
        a bool array of shape ``[height, width]``

    Raises:
        ImageError: if the file cannot be decoded, or it cannot be known which pixels are marked
    """
    return sort_pixels(read_mask_pixels(path), Classes(), f"The mask '{path}'").defect


def sort_pixels(pixels: MaskPixels, classes: Classes, name: str) -> Areas:
    """Sort the pixels of a mask into defects, normal and void ones.

    A person who looks at the mask would agree: what is not drawn is not marked, numbers of a palette are what their
    colours show, and compression moves no border.

    Args:
        pixels: the mask
        classes: kinds of its values
        name: the mask, as errors name it

    Raises:
        ImageError: if its values are no classes, or it cannot be known what they mean

    Examples:
        >>> values = np.array([[0, 1, 255]], np.uint8)
        >>> areas = sort_pixels(MaskPixels(values), Classes({255: "void"}), "The mask")
        >>> areas.defect.tolist(), areas.void.tolist()
        ([[False, True, False]], [[False, False, True]])
    """
    if classes.contradicts:
        raise ImageError(
            f"{name} cannot be read: the dataset's mask_targets say that 0 is no background and name no normal class; "
            "name one, e.g. 'good'"
        )
    values = _colours_or_numbers(pixels, classes)
    _check(values, name)
    if pixels.alpha is not None:
        values = _drawn(values, pixels.alpha)
    if pixels.lossy:
        values = _two_values(values, classes, name)
    codes = _codes(values, classes, name)
    if codes is None:
        return Areas(np.not_equal(values.max(axis=2), 0))
    return _sort_codes(codes, classes, name)


def _check(values: NDArray[Any], name: str) -> None:
    if values.ndim != 2 and (values.ndim != 3 or values.shape[2] != 3):
        raise ImageError(f"{name} has the shape {values.shape}; it must be height x width, or have colours too")
    if values.size == 0:
        raise ImageError(f"{name} is empty; remove it, or make it of the image's size")
    if values.dtype.kind not in "biu" and not (values.dtype.kind == "f" and (values == np.rint(values)).all()):
        raise ImageError(f"{name} holds fractions or other values that are no classes; make it 0 and 255")


def _colours_or_numbers(pixels: MaskPixels, classes: Classes) -> NDArray[Any]:
    """Return the colours of a palette's numbers, or the numbers where these are what was meant."""
    numbers, palette = pixels.values, pixels.palette
    if palette is None:
        return numbers
    if classes.colours:
        return palette[numbers]
    used = np.flatnonzero(np.bincount(numbers.ravel(), minlength=len(palette)))
    colours = palette[used]  # [numbers, 3]
    named = {0, *classes.kinds}
    if (len(used) > 1 and (colours == colours[0]).all()) or not palette.any():
        return numbers  # nobody could tell them apart
    if used.any() and named.issuperset(used.tolist()):
        return numbers
    if classes.kinds and (colours == colours[:, :1]).all() and named.issuperset(colours[:, 0].tolist()):
        return palette[numbers]
    # A colour for 0 is made for the eye, as matplotlib's: programs look at the numbers
    zero_is_coloured = used[0] == 0 and colours.any(axis=1).all()
    return numbers if classes.special or zero_is_coloured else palette[numbers]


def _drawn(values: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Return the values of pixels that are drawn, 0 for others; where nothing but black is drawn, it is the mark."""
    drawn = alpha > 0
    if drawn.all():
        return values
    visible = np.where(drawn[..., None] if values.ndim == 3 else drawn, values, 0)
    return visible if visible.any() else drawn.astype(np.uint8) * 255


def _two_values(values: NDArray[Any], classes: Classes, name: str) -> NDArray[Any]:
    """Undo what compression did to a mask of two values; 0 and the value that is named, or 255.

    Raises:
        ImageError: if it has more than two
    """
    grey = values.max(axis=2) if values.ndim == 3 else values
    brightest, white = float(grey.max()), 255 if values.dtype == np.uint8 else 65535
    if brightest < _DARK * white:
        if grey.min() == grey.max():
            return np.zeros(grey.shape, np.uint8)
        raise ImageError(
            f"{name} is compressed with loss and almost black (at most {brightest:.0f} of {white}), so that its "
            "classes are lost; save it as PNG"
        )
    between = (grey > _DARK * brightest) & (grey < _BRIGHT * brightest)
    kernel = np.ones((_PLATEAU, _PLATEAU), np.uint8)
    even = cv2.erode(between.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    if even.any() or not _are_two(classes):
        raise ImageError(
            f"{name} is compressed with loss and has more than two classes, which cannot be told apart then; save it "
            "as PNG"
        )
    bright = next((value for value in classes.kinds if value >= 128 and not classes.colours), 255)
    return np.where(grey > brightest / 2, bright, 0)


def _are_two(classes: Classes) -> bool:
    """Return whether what is dark in a mask is of one kind, and what is bright is."""
    if classes.colours:
        return not classes.special
    dark = {kind for value, kind in classes.kinds.items() if 0 < value < 128}
    bright = {kind for value, kind in classes.kinds.items() if value >= 128}
    # A dark class beside a bright one is lost. Alone, it may be what the mask shows as white
    return len(bright) <= 1 and dark <= ({classes.named_zero} if bright else {DEFECT})


def _codes(values: NDArray[Any], classes: Classes, name: str) -> NDArray[Any] | None:
    """Return the mask in the numbers that name its classes ``[height, width]``; None if no colour needs a name.

    Raises:
        ImageError: if the classes have numbers, and the mask has colours
    """
    if values.dtype == bool:  # True is white, or the class 1
        values = values.astype(np.uint8) * (255 if classes.colours or 1 not in classes.kinds else 1)
    if classes.colours:
        channels = values.astype(np.int64)
        return channels @ [1 << 16, 1 << 8, 1] if values.ndim == 3 else channels * _GREY
    if values.ndim == 2:
        return values
    if not classes.special:
        return None
    codes: NDArray[Any] = values[..., 0]
    if (values != codes[..., None]).any():
        raise ImageError(f"{name} has colours, but the dataset's mask_targets have numbers; use '#rrggbb'")
    return codes


def _sort_codes(codes: NDArray[Any], classes: Classes, name: str) -> Areas:
    defect: NDArray[np.bool_] = np.not_equal(codes, 0)
    if not classes.special:
        return Areas(defect)
    if classes.named_zero == DEFECT:
        strange = defect & ~np.isin(codes, list(classes.kinds))
        if strange.any():
            raise ImageError(
                f"{name} holds {int(codes[strange][0])}, which the dataset's mask_targets do not name, while they say "
                "that 0 is a defect; name it"
            )
        defect |= codes == 0
    named = {kind: [value for value in classes.kinds if classes.kinds[value] == kind] for kind in (NORMAL, VOID)}
    void = np.isin(codes, named[VOID])
    defect &= ~np.isin(codes, named[NORMAL]) & ~void
    return Areas(defect, void if void.any() else None)


def resize_mask(mask: NDArray[np.bool_], size: tuple[int, int], name: str) -> NDArray[np.bool_]:
    """Resize to ``size`` (width, height), each pixel from the nearest one.

    Raises:
        ImageError: if nothing would be left of it
    """
    resized = _nearest(mask, size)
    if mask.any() and not resized.any():
        raise ImageError(f"{name} is too fine: resized to {size[0]} x {size[1]} px nothing of it is left")
    return resized


def _nearest(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    if mask.shape == (size[1], size[0]):
        return mask
    return cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
