"""Decode the images that a browser uploads."""

from __future__ import annotations

import base64
import binascii
import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from .images import find_scale, read_image

MAX_UPLOAD_BYTES = 32 * 2**20
"""Largest file that is taken from a browser."""


def decode_upload(content: str) -> NDArray[np.uint8]:
    """Decode what a browser uploads, as ``read_image`` does.

    Args:
        content: the file in base64, with or without the head of a data URL

    Returns:
        a uint8 array of shape ``[height, width, 3]``, which must not be changed

    Raises:
        ImageError: if it is no image, is damaged, or is too large; the message says which
    """
    if len(content) > 4 * (MAX_UPLOAD_BYTES + 1024) // 3:
        raise ImageError(f"The file is larger than {MAX_UPLOAD_BYTES // 2**20} MB; make it smaller first")
    return _decode_upload(content)


@lru_cache(maxsize=1)  # a form is checked again whenever one of its fields changes
def _decode_upload(content: str) -> NDArray[np.uint8]:
    head, comma, rest = content.partition(",")
    try:
        data = base64.b64decode(rest if comma else head, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("What arrived is not base64; upload the file again") from None
    pixels = read_image(io.BytesIO(data), find_scale([io.BytesIO(data)]))
    pixels.flags.writeable = False
    return pixels
