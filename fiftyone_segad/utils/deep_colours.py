"""Read both bytes of 16-bit colours; Pillow has 8 bits per channel, and keeps the high one."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from .grey_scale import GreyScale

_MODES = ("RGB", "RGBA", "RGBX")
_SWAPPED = "B" if sys.byteorder == "little" else "L"
_GREY_WITH_ALPHA = "LA;16B"

_LOW_BYTES = {
    **{f"{mode};16{order}": f"{mode};16{'L' if order == 'B' else 'B'}" for mode in _MODES for order in "BL"},
    **{f"{mode};16N": f"{mode};16{_SWAPPED}" for mode in _MODES},
    _GREY_WITH_ALPHA: "RGBA",  # a pixel of two channels as the four bytes that it is
}
"""Ways in which files store 16-bit colours, by Pillow's names, each with the one that takes the low byte instead."""

_PLAIN = ("RGB", 65535)
"""How a PPM file is read that has 16-bit colours, high bytes first. Of other ranges than this one it says so itself."""


def has_deep_colours(image: ImageFile.ImageFile) -> bool:
    """Return whether an opened image, which is not decoded yet, has several channels of 16 bits."""
    if not image.tile or getattr(image, "_planar_configuration", 1) == 2:  # planes have ways of their own
        return False
    return all(tile.args == _PLAIN or _raw_mode(tile) in _LOW_BYTES for tile in image.tile)


def select_high_bytes(image: ImageFile.ImageFile) -> None:
    """Have an opened image with deep colours decode the high byte of each value, as others but PPM files do anyway."""
    image.tile = [tile if tile.args != _PLAIN else _uncompressed(tile, "RGB;16B") for tile in image.tile]


def read_low_bytes(image: ImageFile.ImageFile) -> Image.Image:
    """Decode the low byte of each value of an opened image with deep colours, turned as EXIF says."""
    grey = any(_raw_mode(tile) == _GREY_WITH_ALPHA for tile in image.tile)
    image.tile = [_of_low_bytes(tile) for tile in image.tile]
    ImageOps.exif_transpose(image, in_place=True)
    image.load()
    if not grey:
        return image
    _, value, _, alpha = image.split()
    return Image.merge("RGBA", (value, value, value, alpha))


def join_bytes(high: Image.Image, low: Image.Image) -> NDArray[np.uint16]:
    """Return the values ``[height, width, channels]`` of an image that was decoded twice: its high and its low bytes.

    Examples:
        >>> high, low = Image.new("RGB", (1, 1), (0, 1, 2)), Image.new("RGB", (1, 1), (5, 0, 3))
        >>> join_bytes(high, low).tolist()
        [[[5, 256, 515]]]
    """
    return np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)


def scale_colours(high: Image.Image, low: Image.Image, scale: GreyScale) -> Image.Image:
    """Return an image that was decoded twice in 8 bits per channel, by one scale for all colours."""
    values = join_bytes(high, low)  # [height, width, 3, or 4 with opacity]
    channels = [scale.to_8_bits(values[..., :3])]
    if values.shape[2] == 4:
        channels.append((values[..., 3:] >> 8).astype(np.uint8))
    elif "transparency" in high.info:
        clear = (values == high.info["transparency"]).all(axis=2, keepdims=True)
        channels.append(np.where(clear, 0, 255).astype(np.uint8))
    return Image.fromarray(np.concatenate(channels, axis=2))


def _raw_mode(tile: ImageFile._Tile) -> str:
    return str(tile.args if isinstance(tile.args, str) else tile.args[0] if tile.args else "")


def _of_low_bytes(tile: ImageFile._Tile) -> ImageFile._Tile:
    if tile.args == _PLAIN:
        return _uncompressed(tile, "RGB;16L")
    mode = _LOW_BYTES[_raw_mode(tile)]
    return tile._replace(args=mode if isinstance(tile.args, str) else (mode, *(tile.args or ())[1:]))


def _uncompressed(tile: ImageFile._Tile, mode: str) -> ImageFile._Tile:
    return tile._replace(codec_name="raw", args=(mode, 0, 1))
