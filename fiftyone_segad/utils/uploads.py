"""Pictures that were uploaded: from what a browser sends to pixels. Knows nothing of FiftyOne."""

from __future__ import annotations

import base64
import binascii
import io
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageError
from .images import read_image

MAX_BYTES = 32 * 2**20
"""Largest file that is taken."""

MAX_PIXELS = 50_000_000
"""Largest picture that is taken; a small file can hold far more."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""Formats that are decoded, by Pillow's names. Others, such as EPS, would start programs that nobody asked for."""


def decode_upload(content: str) -> NDArray[np.uint8]:
    """Decode a picture as ``read_image`` does.

    Args:
        content: the file in base64, with or without the head of a data URL

    Returns:
        a uint8 array of shape ``[height, width, 3]``, which must not be changed

    Raises:
        ImageError: if it is not a picture, is damaged, or is too large; the message says which
    """
    if len(content) > 4 * (MAX_BYTES + 1024) // 3:
        raise ImageError(f"The file is larger than {MAX_BYTES // 2**20} MB; make it smaller first")
    return _decode(content)


@lru_cache(maxsize=1)  # a form is checked again whenever one of its fields changes
def _decode(content: str) -> NDArray[np.uint8]:
    data = _bytes_of(content)
    _check_header(data)
    with tempfile.TemporaryDirectory(prefix="segad-") as folder:
        file = Path(folder) / "picture"
        file.write_bytes(data)
        try:
            pixels = read_image(str(file))
        except ImageError as error:
            raise ImageError(str(error).replace(f"'{file}'", "the file")) from error
    pixels.flags.writeable = False
    return pixels


def _bytes_of(content: str) -> bytes:
    try:
        head, comma, rest = content.partition(",")
        data = base64.b64decode(rest if comma else head, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("What arrived is not base64; upload the file again") from None
    if not data:
        raise ImageError("The file is empty (0 bytes)")
    return data


def _check_header(data: bytes) -> None:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except Exception as error:  # decoders raise many types for damaged data
        raise ImageError("This is not a picture that can be read; use PNG, JPEG, WebP, BMP, GIF or TIFF") from error
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"The picture is too large: {width} x {height} px, more than {MAX_PIXELS:,}; cut it into smaller ones first"
        )
