"""Image and mask decoding: any file that the FiftyOne App shows becomes one RGB array.

A file may be damaged, or made to do harm. Whatever it holds, it costs at most ``BYTES_A_PIXEL`` of the size that
its header states, and starts no program.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..errors import ImageError
from .threads import prefetch_map

MAX_PIXELS = 178_956_970
"""Largest image that is decoded, in pixels (about 540 MB as RGB), Pillow's own bound; larger ones are refused by
their header."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats that are decoded, by Pillow's names. Others are not images that cameras write; EPS starts a program."""

BYTES_A_PIXEL = 20
"""Most memory that decoding takes, besides some 16 MB (`tests/test_mutated_images.py`)."""

MAX_SCANS = 100
"""Scans of a progressive JPEG, as in libtiff; ten are usual. Each costs a pass over all of the image, so that a small
file of many could keep a core busy for hours."""

_LARGEST_OBJECT = 2**30  # bytes that are fetched from object storage for an image

PIXELS_AHEAD = 2**27
"""Pixels of images that are decoded ahead of their use, together: 384 MiB, besides what decoding takes itself."""

_AT_ONCE = 2**20  # pixels that are converted

_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_SWAPPED_ORIENTATIONS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Header:
    """What is known of an image without decoding it.

    Attributes:
        size: ``(width, height)`` in pixels as shown (EXIF orientation applied)
        channels: number of channels of the file
    """

    size: tuple[int, int]
    channels: int


def read_header(path: str) -> Header:
    """Read an image's header.

    Raises:
        ImageError: if the file is missing, empty, not an image, or larger than ``MAX_PIXELS``
    """
    with _open(path) as image:
        try:
            # Pillow would decode a whole PNG to look for orientation behind its pixels
            known = image.format != "PNG" or "exif" in image.info
            swapped = known and image.getexif().get(_ORIENTATION_TAG) in _SWAPPED_ORIENTATIONS
        except Exception as error:  # damaged EXIF raises many types
            raise ImageError(f"Cannot read the header of '{path}': {error}") from error
        width, height = image.size
        return Header((height, width) if swapped else (width, height), len(image.getbands()))


def read_image(path: str) -> NDArray[np.uint8]:
    """Decode an image as the App shows it.

    EXIF orientation is applied, 16-bit values keep their high byte, transparent pixels are laid over
    black, and grey, palette and CMYK images become RGB. Of several frames the first is taken.

    Returns:
        a uint8 array of shape ``[height, width, 3]``

    Raises:
        ImageError: if the file cannot be decoded in full; the message names it and the reason
    """
    with _open(path) as image:
        try:
            _check_scans(image, path)
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image, path)
        except ImageError:
            raise
        except Exception as error:  # decoders raise many types for damaged data
            raise ImageError(f"Cannot decode '{path}': {error}") from error


def read_mask(path: str) -> NDArray[np.bool_]:
    """Decode a mask file; nonzero pixels (in any channel but alpha) are defect.

    Returns:
        a bool array of shape ``[height, width]``

    Raises:
        ImageError: if the file cannot be decoded
    """
    values = read_mask_values(path)
    return np.not_equal(values.max(axis=2) if values.ndim == 3 else values, 0)


def read_mask_values(path: str, palette: bool = True) -> NDArray[np.generic]:
    """Decode a mask file to what it says of each pixel.

    Args:
        path: the file
        palette (True): whether the pixels of a palette file are its colours, or the numbers of these

    Returns:
        an array of shape ``[height, width]``, or ``[height, width, 3]`` if the file has colours; alpha is left out

    Raises:
        ImageError: if the file cannot be decoded
    """
    with _open(path) as image:
        try:
            _check_scans(image, path)
            coloured = image.mode == "CMYK" or (image.mode == "P" and palette)
            values = np.asarray(image.convert("RGB") if coloured else image)
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(f"Cannot decode mask '{path}': {error}") from error
    if values.ndim == 3:
        values = values[..., :3] if values.shape[2] >= 3 else values[..., 0]
    return values


def read_image_or_error(path: str) -> NDArray[np.uint8] | ImageError:
    """Decode an image as ``read_image`` does, or gives the error that says why it cannot be used."""
    try:
        return read_image(path)
    except ImageError as error:
        return error


def count_pixels(path: str) -> int:
    """Pixels of an image by its header; 0 where that cannot be told, or only by fetching the image."""
    if is_url(path):
        return 0
    try:
        with _open(path) as image:
            return image.width * image.height
    except ImageError:  # whoever reads it tells why
        return 0


def read_ahead(paths: Sequence[str], workers: int) -> Iterator[NDArray[np.uint8] | ImageError]:
    """Decode images in threads, in order, at most two a worker and ``PIXELS_AHEAD`` ahead of the caller.

    Yields:
        the image, or the error that says why it cannot be used
    """

    for _, image in prefetch_map(read_image_or_error, paths, workers, count_pixels, PIXELS_AHEAD):
        yield image


def rotate(pixels: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """The image turned about its centre, its size kept; what comes into sight at the corners is mirrored."""
    height, width = pixels.shape[:2]
    if degrees == 180:
        return np.ascontiguousarray(pixels[::-1, ::-1])
    if width == height and degrees in (90, 270):
        return np.ascontiguousarray(np.rot90(pixels, round(degrees / 90)))
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(pixels, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """Return a digest that two images share if, and only if, size and decoded pixels are the same.

    Examples:
        >>> pixels = np.zeros((2, 3, 3), np.uint8)
        >>> pixel_digest(pixels) == pixel_digest(pixels.copy()), pixel_digest(pixels) == pixel_digest(pixels[:1])
        (True, False)
    """
    return hashlib.blake2b(pixels.tobytes(), digest_size=16, key=repr(pixels.shape).encode()).hexdigest()


def is_url(path: str) -> bool:
    """Whether a path names an object in storage that is not mounted, e.g. ``s3://bucket/image.png``."""
    return "://" in path


def object_state(url: str) -> tuple[int, int]:
    """Size of an object in storage and a number that changes with it; -1 for both if it is not there."""
    try:
        import fsspec

        storage, path = fsspec.core.url_to_fs(url)
        return int(storage.size(path)), int(storage.checksum(path))
    except Exception:  # storage systems raise many types; reading the image will tell what is wrong
        return -1, -1


def _open(path: str) -> Image.Image:
    source = _fetched(path) if is_url(path) else path
    if isinstance(source, str) and not os.path.isfile(source):
        raise ImageError(f"No such image file: '{path}'")
    try:
        if (os.path.getsize(source) if isinstance(source, str) else source.getbuffer().nbytes) == 0:
            raise ImageError(f"'{path}' is empty (0 bytes)")
        image = Image.open(source, formats=FORMATS)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"'{path}' is too large: {error}") from error
    except Exception as error:
        raise ImageError(f"'{path}' is not an image that can be read: {error}") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise ImageError(
            f"'{path}' is too large: {width} x {height} px, more than {MAX_PIXELS:,}; cut it into smaller images first"
        )
    return image


def _check_scans(image: Image.Image, path: str) -> None:
    if not image.info.get("progressive"):
        return
    source = getattr(image, "fp", None)
    if isinstance(source, io.BytesIO):
        scans = _count_scans(source.getvalue())
    else:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            scans = _count_scans(content)
    if scans > MAX_SCANS:
        raise ImageError(f"'{path}' has more than {MAX_SCANS} scans; save it again as a usual JPEG")


def _count_scans(content: bytes | mmap.mmap) -> int:
    scans = start = 0
    while scans <= MAX_SCANS and (start := content.find(b"\xff\xda", start) + 1) > 0:
        scans += 1
    return scans


def _fetched(url: str) -> io.BytesIO:
    try:
        import fsspec  # only where it is needed
    except ImportError:
        raise ImageError(f"'{url}' is in object storage, which needs fsspec: pip install fsspec") from None
    try:
        with fsspec.open(url, "rb") as file:
            content = file.read(_LARGEST_OBJECT + 1)
    except FileNotFoundError:
        raise ImageError(f"No such image file: '{url}'") from None
    except Exception as error:  # storage systems raise many types
        raise ImageError(f"Cannot fetch '{url}': {error or type(error).__name__}") from error
    if len(content) > _LARGEST_OBJECT:
        raise ImageError(f"'{url}' is too large: more than {_LARGEST_OBJECT // 2**20:,} MiB")
    return io.BytesIO(content)


def _to_rgb(image: Image.Image, path: str) -> NDArray[np.uint8]:
    if image.mode == "F":
        raise ImageError(f"'{path}' holds floating-point pixels, which have no defined range; convert it to 8-bit")
    image.load()
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    step = max(1, _AT_ONCE // width)
    for top in range(0, height, step):  # so that there is one copy of the image and not three
        rows = image.crop((0, top, width, min(top + step, height)))
        pixels[top : top + step] = _rows_to_rgb(rows, path)
    return pixels


def _rows_to_rgb(image: Image.Image, path: str) -> NDArray[np.uint8]:
    if image.mode in _SIXTEEN_BIT_MODES:
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 0xFFFF):
            raise ImageError(f"'{path}' holds 32-bit pixels outside 0 to 65535; convert it to 8- or 16-bit")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode == "L":  # as Pillow's conversion, a third of the bytes through it
        return np.asarray(cv2.cvtColor(np.asarray(image), cv2.COLOR_GRAY2RGB), np.uint8)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
