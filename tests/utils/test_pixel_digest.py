"""Digests of decoded pixels."""

from __future__ import annotations

import numpy as np

from fiftyone_segad.utils.images import pixel_digest


def test_digest_knows_pixels_and_size() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    other = picture.copy()
    other[2, 2, 1] ^= 1
    digests = {pixel_digest(pixels) for pixels in (picture, other, picture.reshape(4, 6, 3))}
    assert len(digests) == 3
    assert pixel_digest(np.asfortranarray(picture)) == pixel_digest(picture)
