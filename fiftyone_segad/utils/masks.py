"""Decode mask files to all that they say of each pixel. What of it is a defect, ``data/masks.py`` decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from ..errors import ImageError
from .deep_colours import has_deep_colours, read_low_bytes
from .frames import has_second_frame
from .images import check_scans, open_image

_ALWAYS_LOSSY = ("JPEG", "MPO", "AVIF")
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
_PLAIN_MODES = ("1", "L", "I", "F", "RGB", "RGBX")
_HEAD = 2**16  # bytes, among which a JPEG 2000 file says how it is compressed
_WEBP_FRAME = 16  # bytes that an animation's frame has before its image


@dataclass(frozen=True)
class MaskPixels:
    """The pixels of a mask, as it is shown (EXIF orientation applied).

    Attributes:
        values: grey values or numbers of a palette ``[height, width]``, or colours ``[height, width, 3]``
        alpha: opacity ``[height, width]``, 0 where a pixel is not drawn; None if all are
        palette: colours ``[256, 3]`` that the numbers stand for; None if they are no such numbers
        lossy: whether compression may have changed the values
        more_frames: whether the file has more pages or frames than this one
    """

    values: NDArray[np.generic]
    alpha: NDArray[np.generic] | None = None
    palette: NDArray[np.uint8] | None = None
    lossy: bool = False
    more_frames: bool = False

    @classmethod
    def of(cls, array: NDArray[np.generic]) -> MaskPixels:
        """Take an array apart: the second or fourth of its channels is opacity.

        Examples:
            >>> MaskPixels.of(np.zeros((6, 8, 4), np.uint8)).values.shape
            (6, 8, 3)
        """
        if array.ndim != 3 or array.shape[2] not in (1, 2, 4):
            return cls(array)
        values = array[..., :3] if array.shape[2] == 4 else array[..., 0]
        return cls(values, array[..., -1] if array.shape[2] > 1 else None)


def read_mask_pixels(path: str) -> MaskPixels:
    """Decode a mask file. Of several pages or frames the first is taken.

    Raises:
        ImageError: if the file cannot be decoded in full; the message names it and the reason
    """
    with open_image(path) as image:
        try:
            check_scans(image, f"'{path}'")
            lossy, more_frames = _is_lossy(image), has_second_frame(image)
            is_deep = has_deep_colours(image)
            ImageOps.exif_transpose(image, in_place=True)
            pixels = replace(_pixels(image), lossy=lossy, more_frames=more_frames)
            return replace(pixels, values=_low_bytes(path)) if is_deep and not pixels.values.any() else pixels
        except ImageError:
            raise
        except Exception as error:  # decoders raise many types for damaged data
            raise ImageError(f"Cannot decode mask '{path}': {error}") from error


def _low_bytes(path: str) -> NDArray[np.generic]:
    """Read the colours of a 16-bit mask whose values are those of 8 bits."""
    with open_image(path) as image:
        return np.asarray(read_low_bytes(image))[..., :3]


def _pixels(image: Image.Image) -> MaskPixels:
    if image.mode in ("P", "PA"):
        palette = np.zeros((256, 3), np.uint8)
        colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(colours)] = colours
        transparent = image.mode == "PA" or "transparency" in image.info
        alpha = np.asarray(image.convert("RGBA"))[..., 3] if transparent else None
        numbers = np.asarray(image)
        return MaskPixels(numbers[..., 0] if numbers.ndim == 3 else numbers, alpha, palette)
    if image.mode in ("LA", "La", "RGBA", "RGBa") or ("transparency" in image.info and image.mode in ("L", "RGB")):
        array = np.asarray(image.convert("LA" if image.mode in ("L", "LA", "La") else "RGBA"))
        return MaskPixels(array[..., :-1] if array.shape[2] == 4 else array[..., 0], array[..., -1])
    if image.mode not in _PLAIN_MODES and not image.mode.startswith("I;16"):
        image = image.convert("RGB")
    array = np.asarray(image)
    return MaskPixels(array[..., :3] if array.ndim == 3 else array)


def _is_lossy(image: ImageFile.ImageFile) -> bool:
    if image.format == "TIFF":
        return image.info.get("compression") in _LOSSY_TIFF
    if image.format not in ("WEBP", "JPEG2000"):
        return image.format in _ALWAYS_LOSSY
    file = image.fp
    if file is None:
        return True
    place = file.tell()
    try:
        file.seek(0)
        return _is_lossy_webp(file) if image.format == "WEBP" else _is_lossy_jpeg2000(file.read(_HEAD))
    finally:
        file.seek(place)


def _is_lossy_webp(file: IO[bytes]) -> bool:
    return next((name != b"VP8L" for name in _webp_chunks(file) if name in (b"VP8 ", b"VP8L")), True)


def _webp_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the names of a WebP file's chunks, those of an animation's frames included."""
    file.seek(12)  # behind RIFF, size and WEBP
    while len(head := file.read(8)) == 8:
        yield head[:4]
        size = int.from_bytes(head[4:], "little")
        file.seek(_WEBP_FRAME if head[:4] == b"ANMF" else size + size % 2, 1)


def _is_lossy_jpeg2000(head: bytes) -> bool:
    """Return whether the wavelets of a JPEG 2000 file are those that lose (ISO 15444-1, A.6.1)."""
    start = head.find(b"\xff\x52", max(head.find(b"\xff\x4f\xff\x51"), 0))  # the marker COD, in the code stream
    return not 0 <= start < len(head) - 13 or head[start + 13] == 0
