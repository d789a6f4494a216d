"""Images that come as arrays, from a camera for instance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..utils.grey_scale import GreyScale


def array_to_rgb(array: NDArray[np.integer], scale: GreyScale) -> NDArray[np.uint8]:
    """Turn an array of grey or colours into that of 8-bit colours ``[height, width, 3]`` which its file would give.

    Raises:
        ValueError: if it has another shape or type
    """
    if array.ndim == 2:
        array = array[..., None]
    if array.dtype not in (np.uint8, np.uint16) or array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
        raise ValueError(
            f"image is an array {array.dtype} {list(array.shape)}; give uint8 or uint16 of [height, width] (grey) or "
            "[height, width, 3] (red, green, blue; of OpenCV's blue, green, red: image[..., ::-1])"
        )
    values = scale.to_8_bits(array) if array.dtype == np.uint16 else array.astype(np.uint8, copy=False)
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))
