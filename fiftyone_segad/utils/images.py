"""Decode images: any file that the FiftyOne App shows becomes one RGB array.

A file may be damaged, or made to do harm. Whatever it holds, it costs at most ``BYTES_PER_PIXEL`` of the size that
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
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..errors import ImageError
from .deep_colours import has_deep_colours, join_bytes, read_low_bytes, scale_colours, select_high_bytes
from .frames import has_second_frame
from .grey_scale import FULL_RANGE, VALUES, GreyScale
from .object_storage import fetch, is_url
from .threads import prefetch_map

MAX_PIXELS = 178_956_970
"""Largest image that is decoded, in pixels (about 540 MB as RGB), Pillow's own bound; larger ones are refused by
their header."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats that are decoded, by Pillow's names. Others are not images that cameras write; EPS starts a program."""

BYTES_PER_PIXEL = 20
"""Most memory that decoding takes, besides some 16 MB (`tests/test_mutated_images.py`)."""

MAX_SCANS = 100
"""Scans of a progressive JPEG, as in libtiff; ten are usual. Each costs a pass over all of the image, so that a small
file of many could keep a core busy for hours."""

PIXELS_AHEAD = 2**27
"""Pixels of images that are decoded ahead of their use, together: 384 MiB, besides what decoding takes itself."""

SCALE_IMAGES = 64  # that a scale of grey values is chosen by, at most

_PIXELS_AT_ONCE = 2**20  # that are converted to RGB

_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_SWAPPED_ORIENTATIONS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_ORIENTATION_TAG = 0x0112
_FRAME_SUFFIXES = (".tif", ".tiff", ".gif", ".webp", ".avif", ".apng")


@dataclass(frozen=True)
class Header:
    """The header of an image, which is read without decoding it.

    Attributes:
        size: ``(width, height)`` in pixels as shown (EXIF orientation applied)
        channels: number of channels of the file
        more_frames: whether it has more pages or frames than the first, which is the one that is read
    """

    size: tuple[int, int]
    channels: int
    more_frames: bool = False


def read_header(path: str) -> Header:
    """Read an image's header.

    Raises:
        ImageError: if the file is missing, empty, not an image, or larger than ``MAX_PIXELS``
    """
    with open_image(path) as image:
        try:
            # Pillow would decode a whole PNG to look for orientation behind its pixels, and has turned a TIFF already
            in_header = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
            swapped = in_header and image.getexif().get(_ORIENTATION_TAG) in _SWAPPED_ORIENTATIONS
        except Exception as error:  # damaged EXIF raises many types
            raise ImageError(f"Cannot read the header of '{path}': {error}") from error
        width, height = image.size
        channels = len(image.getbands())
        return Header((height, width) if swapped else (width, height), channels, has_second_frame(image))


def read_image(source: str | io.BytesIO, scale: GreyScale = FULL_RANGE) -> NDArray[np.uint8]:
    """Decode an image as the App shows it.

    EXIF orientation is applied, transparent pixels are laid over black, and grey, palette and CMYK images become RGB.
    Of several frames the first is taken.

    Args:
        source: a path, the URL of an object in storage, or the content of a file
        scale: the grey values of more than 8 bits that become black and white; by default the high byte is kept

    Returns:
        a uint8 array of shape ``[height, width, 3]``

    Raises:
        ImageError: if the file cannot be decoded in full; the message names it and the reason

    Examples:
        >>> file = io.BytesIO()
        >>> Image.new("L", (4, 3), 200).save(file, "PNG")
        >>> read_image(file).shape
        (3, 4, 3)
    """
    name = _name(source)
    with open_image(source) as image:
        try:
            check_scans(image, name)
            low = _open_low_bytes(source, image) if scale != FULL_RANGE and has_deep_colours(image) else None
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image, name, scale, low)
        except ImageError:
            raise
        except Exception as error:  # decoders raise many types for damaged data
            raise ImageError(f"Cannot decode {name}: {error}") from error


def read_image_or_error(path: str, scale: GreyScale = FULL_RANGE) -> NDArray[np.uint8] | ImageError:
    """Decode an image as ``read_image`` does, or return the error that says why it cannot be used."""
    try:
        return read_image(path, scale)
    except ImageError as error:
        return error


def has_more_frames(path: str) -> bool:
    """Return whether a file has more pages or frames than the first; False where that takes fetching the image.

    Only formats that often have several are looked at.
    """
    if is_url(path) or os.path.splitext(path)[1].lower() not in _FRAME_SUFFIXES:
        return False
    try:
        return read_header(path).more_frames
    except ImageError:  # whoever reads it tells why
        return False


def count_pixels(path: str) -> int:
    """Count the pixels of an image by its header; 0 where that fails, or takes fetching the image."""
    if is_url(path):
        return 0
    try:
        with open_image(path) as image:
            return image.width * image.height
    except ImageError:  # whoever reads it tells why
        return 0


def read_ahead(
    paths: Sequence[str], workers: int, scale: GreyScale = FULL_RANGE
) -> Iterator[NDArray[np.uint8] | ImageError]:
    """Decode images in threads, in order, at most two per worker and ``PIXELS_AHEAD`` ahead of the caller.

    Yields:
        the image, or the error that says why it cannot be used
    """

    def read(path: str) -> NDArray[np.uint8] | ImageError:
        return read_image_or_error(path, scale)

    for _, image in prefetch_map(read, paths, workers, count_pixels, PIXELS_AHEAD):
        yield image


def find_scale(sources: Sequence[str | io.BytesIO], others: Sequence[str] = ()) -> GreyScale:
    """Choose one scale for the grey values of images; the full range if none of them has more than 8 bits.

    At most ``SCALE_IMAGES`` of them are looked at, evenly chosen; what cannot be read is passed over. Images of 8 bits
    are not decoded.

    Args:
        sources: the images, as in ``read_image``
        others: those that decide if none of the images has more than 8 bits
    """
    counts = np.zeros(VALUES, np.int64)
    for _, image_counts in prefetch_map(_count_greys, sources[:: -(-len(sources) // SCALE_IMAGES) or 1]):
        counts += image_counts
    if counts.any():
        return GreyScale.of_counts(counts)
    return find_scale(others) if others else FULL_RANGE


def _count_greys(source: str | io.BytesIO) -> NDArray[np.int64]:
    """Count how often each value occurs in an image of more than 8 bits; 0 for all of another one."""
    counts = np.zeros(VALUES, np.int64)
    try:
        with open_image(source) as image:
            for values in _deep_values(source, image):
                counts += np.bincount(values, minlength=VALUES)
    except Exception:  # whoever reads it tells why
        counts[:] = 0
    return counts


def _deep_values(source: str | io.BytesIO, image: ImageFile.ImageFile) -> Iterator[NDArray[np.integer]]:
    """Yield the values of an image of more than 8 bits, those of its channels among each other; none of another one."""
    if image.mode in _SIXTEEN_BIT_MODES:
        values = np.asarray(image).ravel()
        yield from (values[start : start + _PIXELS_AT_ONCE] for start in range(0, values.size, _PIXELS_AT_ONCE))
    elif has_deep_colours(image):
        low = _open_low_bytes(source, image)
        ImageOps.exif_transpose(image, in_place=True)
        for box in _bands(image.size):
            yield join_bytes(image.crop(box), low.crop(box))[..., :3].ravel()


def _open_low_bytes(source: str | io.BytesIO, image: ImageFile.ImageFile) -> Image.Image:
    """Decode the low bytes of the deep colours of an image, which is opened and will have the high ones."""
    select_high_bytes(image)
    with open_image(source) as other:
        return read_low_bytes(other)


def rotate(pixels: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Turn an image counter-clockwise about its centre and keep its size; its corners show mirrored pixels.

    Examples:
        >>> rotate(np.array([[[1], [2]], [[3], [4]]], np.uint8), 90)[..., 0].tolist()
        [[2, 4], [1, 3]]
    """
    height, width = pixels.shape[:2]
    if degrees == 0:
        return pixels
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


def _name(source: str | io.BytesIO) -> str:
    """Name a source in messages."""
    return f"'{source}'" if isinstance(source, str) else "the file"


def open_image(source: str | io.BytesIO) -> ImageFile.ImageFile:
    """Open an image and read its header.

    Raises:
        ImageError: if the file is missing, empty, not an image, or larger than ``MAX_PIXELS``
    """
    name = _name(source)
    file = fetch(source) if isinstance(source, str) and is_url(source) else source
    if isinstance(file, str) and not os.path.isfile(file):
        raise ImageError(f"No such image file: {name}")
    try:
        if (os.path.getsize(file) if isinstance(file, str) else file.getbuffer().nbytes) == 0:
            raise ImageError(f"{name} is empty (0 bytes)")
        image = Image.open(file, formats=FORMATS)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not an image that can be read: it was not recognised as any of {', '.join(FORMATS)}"
        ) from error
    except Exception as error:
        raise ImageError(f"{name} is not an image that can be read: {error}") from error
    width, height = image.size
    if image.format == "TIFF":
        image.filename = ""  # else Pillow maps one without compression into memory, which fails if it is turned
    if width * height > MAX_PIXELS:
        image.close()
        raise ImageError(
            f"{name} is too large: {width} x {height} px, more than {MAX_PIXELS:,}; cut it into smaller images first"
        )
    return image


def check_scans(image: ImageFile.ImageFile, name: str) -> None:
    """Refuse a JPEG that would take hours to decode.

    Raises:
        ImageError: if it has more than ``MAX_SCANS`` scans
    """
    if not image.info.get("progressive"):
        return
    file = getattr(image, "fp", None)
    if isinstance(file, io.BytesIO):
        scans = _count_scans(file.getvalue())
    else:
        with open(image.filename, "rb") as jpeg, mmap.mmap(jpeg.fileno(), 0, access=mmap.ACCESS_READ) as content:
            scans = _count_scans(content)
    if scans > MAX_SCANS:
        raise ImageError(f"{name} has more than {MAX_SCANS} scans; save it again as a usual JPEG")


def _count_scans(content: bytes | mmap.mmap) -> int:
    scans = start = 0
    while scans <= MAX_SCANS and (start := content.find(b"\xff\xda", start) + 1) > 0:
        scans += 1
    return scans


def _to_rgb(image: Image.Image, name: str, scale: GreyScale, low: Image.Image | None) -> NDArray[np.uint8]:
    if image.mode == "F":
        raise ImageError(f"{name} holds floating-point pixels, which have no defined range; convert it to 8-bit")
    image.load()
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for box in _bands(image.size):  # so that there is one copy of the image and not three
        rows = image.crop(box)
        if low is not None:
            rows = scale_colours(rows, low.crop(box), scale)
        pixels[box[1] : box[3]] = _rows_to_rgb(rows, name, scale)
    return pixels


def _bands(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the boxes of the rows of an image that are converted at once."""
    width, height = size
    step = max(1, _PIXELS_AT_ONCE // width)
    for top in range(0, height, step):
        yield 0, top, width, min(top + step, height)


def _rows_to_rgb(image: Image.Image, name: str, scale: GreyScale) -> NDArray[np.uint8]:
    if image.mode in _SIXTEEN_BIT_MODES:
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() >= VALUES):
            raise ImageError(f"{name} holds 32-bit pixels outside 0 to 65535; convert it to 8- or 16-bit")
        image = Image.fromarray(scale.to_8_bits(values))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode == "L":  # as Pillow's conversion, a third of the bytes through it
        return np.asarray(cv2.cvtColor(np.asarray(image), cv2.COLOR_GRAY2RGB), np.uint8)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
