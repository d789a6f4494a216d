"""Pictures of the same physical part under other light, found by the texture of its surface.

Embeddings of whole images know what a part is, not which one: they are trained to overlook texture and to notice light.
Here it is the other way round. Images are stretched to one square, light is taken out of them (logarithm, band-pass,
local contrast), and two of them are one part if what is left correlates at some small shift. For speed only the pairs
that a coarser version suggests are correlated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from .groups import Pairs, nearest

SAME_PART = 0.75
"""Correlation from which two images show one part. Of the magnetic tiles, pictures of one part reach at least 0.80, and
those of different parts at most 0.67."""

CANDIDATES = 60
"""Nearest images by coarse texture that each image is correlated with. On the magnetic tiles they hold every picture of
the same part; 20 hold 98 %."""

DOUBTFUL = 0.25
"""Pairs that are hardly less alike than those found, for each that is found, from which what is found is doubtful: 0.05
on magnetic tiles, 1 on screws, which at one angle all look the same."""

_HARDLY_LESS = 0.6

SIDE = 128
"""Width and height in pixels to which images are stretched."""

SHIFT = 8
"""Pixels of these by which one picture may be moved against the other."""

_FINE, _COARSE = (1.0, 6.0), (3.0, 12.0)
"""Standard deviations, in these pixels, between which the two textures lie."""

_COARSE_SIDE = 32

_BLANK = 1e-4  # contrast of logarithms, far below a grey value's: keeps rounding from looking like texture

_FLOOR = 4.0  # grey values: keeps noise in the dark from looking like texture


@dataclass(frozen=True)
class Part:
    """The texture of one image, fine and coarse.

    Attributes:
        texture: float16 array ``[128, 128]`` of length 1 (0 if it is blank), its border faded out
        coarse: float32 array ``[1024]``, to suggest pairs by
    """

    texture: NDArray[np.float16]
    coarse: NDArray[np.float32]


def describe(pixels: NDArray[np.uint8]) -> Part:
    """Take the texture of an RGB image ``[height, width, 3]``."""
    grey = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    light = np.log(grey.astype(np.float32) + _FLOOR)
    window = np.hanning(SIDE).astype(np.float32)
    fine = _texture(light, *_FINE) * window[:, None] * window
    coarse = cv2.resize(_texture(light, *_COARSE), (_COARSE_SIDE, _COARSE_SIDE), interpolation=cv2.INTER_AREA)
    return Part((fine / max(float(np.linalg.norm(fine)), 1)).astype(np.float16), coarse.ravel())


def part_pairs(parts: Sequence[Part]) -> tuple[Pairs, bool]:
    """Link the images of one part.

    Args:
        parts: the textures of the images

    Returns:
        the pairs, and whether they are doubtful: parts that are made alike correlate too where they lie alike, and then
        there is no gap below what is found
    """
    suggested = nearest(np.stack([part.coarse for part in parts]), CANDIDATES)[1]
    others_of: dict[int, set[int]] = {}
    for i, others in enumerate(suggested.tolist()):
        for j in others:
            if j >= 0:
                others_of.setdefault(min(i, j), set()).add(max(i, j))
    pairs: list[tuple[int, int]] = []
    nearly = 0
    for i, candidates in sorted(others_of.items()):
        others = sorted(candidates)
        values = correlations(parts[i], [parts[j] for j in others])
        pairs += [(i, others[place]) for place in np.flatnonzero(values >= SAME_PART)]
        nearly += int(((values >= _HARDLY_LESS) & (values < SAME_PART)).sum())
    return np.array(pairs, np.int64).reshape(-1, 2), nearly > DOUBTFUL * len(pairs)


def correlations(part: Part, others: Sequence[Part]) -> NDArray[np.float32]:
    """Correlate an image with each of several others, at the best shift.

    Args:
        part: the image
        others: ``n`` others

    Returns:
        float32 array ``[n]`` in [-1, 1]

    Examples:
        >>> noise = np.random.default_rng(0).integers(0, 256, (2, 160, 128, 3), dtype=np.uint8)
        >>> part, other = describe(noise[0]), describe(noise[1])
        >>> correlations(part, [part, other]) > SAME_PART
        array([ True, False])
    """
    # Correlation theorem: the inverse transform of conj(F(a)) * F(b) is the correlation of a and b at each shift
    spectrum = np.conj(fft.rfft2(part.texture.astype(np.float32)))  # [SIDE, SIDE / 2 + 1]
    spectra = fft.rfft2(np.stack([other.texture for other in others]).astype(np.float32), workers=-1)
    surfaces = fft.irfft2(spectrum * spectra, s=(SIDE, SIDE), workers=-1)  # [n, SIDE, SIDE], by shift down and right
    shifts = np.r_[0 : SHIFT + 1, -SHIFT:0]  # negative ones are at the end
    best: NDArray[np.float32] = surfaces[:, shifts[:, None], shifts].max(axis=(1, 2))
    return best


def _texture(light: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Return band-passed values at one contrast everywhere."""
    band = cv2.GaussianBlur(light, (0, 0), low) - cv2.GaussianBlur(light, (0, 0), high)
    contrast = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), 2 * high))
    texture: NDArray[np.float32] = band / (contrast + 0.25 * np.median(contrast) + _BLANK)
    return texture
