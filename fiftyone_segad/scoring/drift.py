"""Drift: whether scored images as a whole are unlike the normal ones, as after a change of camera, light or product.

A defect raises the scores of a few segments; drift raises those of most. So images are compared by the lower quartile
of their segments' scores, and by the upper one for what has changed in places: each gets a conformal p-value among the
normal images. Without drift one image in ten is as unusual as a tenth of the normal ones are; with it most are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .conformal import NormalScores

ALL_OVER, IN_PLACES = 0.25, 0.75
"""Quantiles of an image's segment scores that rise where it is unlike the normal ones all over, or in places."""

UNUSUAL = 0.1
"""P-value up to which an image is unusual."""

CLEAR = 0.5
"""Share of images that are unusual all over above which there is drift."""

CLEAR_IN_PLACES = 0.75
"""Share of images that are unusual in places above which there is drift: among defective images half are."""

FEWEST = 5
"""Scored images from which on p-values tell of drift."""

_BRIGHTER = 0.05
"""Relative change of the mean grey value that is named."""

_SHARPER = 0.3
"""Relative change of the sharpness that is named."""


@dataclass(frozen=True)
class Drift:
    """Unlikeness of the scored images as a whole to the normal ones.

    Attributes:
        share: share of the scored images that are unusual, in [0, 1]; about 0.1 without drift
        images: scored images it is of
        where: ``all over`` or ``in places``, where the share is above 0.5 or 0.75; else empty
        brightness: mean grey value of scored images relative to that of normal ones; 1 if it was not measured
        sharpness: variance of the Laplacian, likewise
    """

    share: float
    images: int
    where: str = ""
    brightness: float = 1.0
    sharpness: float = 1.0

    def __bool__(self) -> bool:
        """Return whether there is drift."""
        return bool(self.where)

    def __str__(self) -> str:
        if not self:
            return f"no drift: {100 * self.share:.0f} of 100 scored images are unusual, 10 are usual"
        changes = [
            (abs(self.brightness - 1) >= _BRIGHTER, "brighter" if self.brightness > 1 else "darker", self.brightness),
            (abs(self.sharpness - 1) >= _SHARPER, "sharper" if self.sharpness > 1 else "less sharp", self.sharpness),
        ]
        named = [f"{word} ({ratio:.2g} times)" for is_named, word, ratio in changes if is_named]
        return (
            f"Drift: {100 * self.share:.0f} of 100 scored images are {self.where} less like the normal images than 90 "
            "of 100 normal ones are"
            + (f"; they are {' and '.join(named)}" if named else "")
            + ". Another camera, light or product? Add normal images of this batch to the reference; until then take "
            "the threshold from the batch itself, e.g. 'quantile:0.95' or 'alarms:20'"
        )


def quartiles(scores: NDArray[np.floating]) -> tuple[float, float]:
    """Return the lower and the upper quartile of an image's segment scores ``[n]``."""
    low, high = np.quantile(scores, [ALL_OVER, IN_PLACES])
    return float(low), float(high)


def measure_drift(images: NDArray[np.float64], normals: NDArray[np.float64], groups: NDArray[np.int64]) -> Drift | None:
    """Measure how unlike the normal images the scored ones are.

    Args:
        images: ``quartiles`` ``[n, 2]`` of the scored images
        normals: those ``[m, 2]`` of normal images, each scored without its own part
        groups: int array ``[m]``, the same for normal images of one part

    Returns:
        the drift, its ``brightness`` and ``sharpness`` not measured. With few images only one that is plain is told,
        else None

    Examples:
        >>> normals = np.arange(40.0).reshape(20, 2)
        >>> measure_drift(normals[1::2], normals, np.arange(20)).share
        0.1
        >>> measure_drift(normals + 50, normals, np.arange(20)).where
        'all over'
    """
    compared = [NormalScores.of(column, groups) for column in normals.T]
    if len(images) < FEWEST or not len(normals) or compared[0].smallest_share > UNUSUAL:
        return _measure_few(images[:, 0], normals[:, 0])
    all_over, in_places = (
        float((by.p_values(column) <= UNUSUAL).mean()) for by, column in zip(compared, images.T, strict=True)
    )
    if all_over > CLEAR:
        return Drift(all_over, len(images), "all over")
    return Drift(in_places, len(images), "in places" if in_places > CLEAR_IN_PLACES else "")


def _measure_few(images: NDArray[np.float64], normals: NDArray[np.float64]) -> Drift | None:
    """Tell drift that is plain: most images are clearly farther from the normal ones than these from each other.

    Args:
        images: lower quartile of each image
        normals: that of each normal image
    """
    if len(normals) < 2 or not len(images):
        return None
    highest = float(normals.max())
    limit = highest + max(highest - float(np.median(normals)), 0.5 * abs(highest))
    share = float((images > limit).mean())
    return Drift(share, len(images), "all over") if share > CLEAR else None
