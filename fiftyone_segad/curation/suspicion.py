"""How suspect each image of a set of supposed normals is, and why. Knows nothing of FiftyOne."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .exposure import ODD, Exposure, modified_z, odd_sizes

SUSPECT = ODD
"""Contamination from which an image is suspect."""

_ODD_EXPOSURE = 2 * ODD
"""Deviations from which sharpness and exposure make an image suspect. They vary among good images more than a normal
distribution does, so that more is asked of them."""

_STEP = 1 / 3
"""Powers of two by which brightness, contrast or sharpness must differ too: a third of a stop, a camera's smallest step
of exposure."""

SIZE = "other camera"
EXPOSURE = "bad exposure"
BLUR = "blur"
CATEGORY = "wrong category"
DEFECT = "probable defect"
UNUSABLE = "cannot be used"


@dataclass(frozen=True)
class Suspicion:
    """What speaks against an image.

    Attributes:
        contamination: deviations from the usual image: 0 is usual, ``SUSPECT`` and more is suspect
        reason: what it is probably, with the figure; None if it is not suspect
    """

    contamination: float
    reason: str | None


def judge(peaks: ArrayLike, middles: ArrayLike, exposures: Sequence[Exposure]) -> list[Suspicion]:
    """Judges images by what the others are like.

    An image is suspect for its anomaly score, for exposure, for blur or for its size; the largest deviation counts.
    One that is odd as a whole is named by the cause that explains it: size, exposure and blur change all features of
    an image, and another category changes most of them, so that a defect is what is left.

    Args:
        peaks: float ``[n]``, anomaly score of each image, scored without itself
        middles: float ``[n]``, median anomaly score of the segments of each image
        exposures: the statistics of each image
    """
    peaks, middles = np.asarray(peaks, np.float64), np.asarray(middles, np.float64)
    sizes = odd_sizes([each.size for each in exposures])
    brightness = _factors([each.brightness for each in exposures])
    contrast = _factors([each.contrast for each in exposures])
    sharpness = _factors([each.blur for each in exposures])
    anomaly = modified_z(peaks)
    foreign = middles > np.median(peaks) if peaks.size else np.zeros(0, bool)
    judged = []
    for i, each in enumerate(exposures):
        size = f"{SIZE} ({each.size[0]} x {each.size[1]} px)"
        exposure = f"{EXPOSURE} (brightness {each.brightness:.0f}, contrast {each.contrast:.0f})"
        # More contrast and sharpness are no fault of a picture: defects add to both
        causes = {
            size: _ODD_EXPOSURE if sizes[i] else 0.0,
            exposure: _if_odd(max(abs(brightness[i]), -contrast[i])),
            f"{BLUR} (variance of the Laplacian {each.blur:.1f})": _if_odd(-sharpness[i]),
            CATEGORY: anomaly[i] if foreign[i] else 0.0,
            DEFECT: anomaly[i],
        }
        reason = next((cause for cause, away in causes.items() if away >= SUSPECT), None)
        # A usual image keeps its own rank, below 0 where it is more usual than most
        worst = max(causes.values()) if reason is not None else anomaly[i]
        judged.append(Suspicion(float(worst), reason))
    return judged


def _if_odd(away: float) -> float:
    return away if away >= _ODD_EXPOSURE else 0.0


def _factors(values: Sequence[float]) -> NDArray[np.float64]:
    """Deviations of factors; 0 of those below ``_STEP``, which a defect may cause where light is constant."""
    logarithms = np.log2(np.asarray(values, np.float64) + 1)
    steps = np.abs(logarithms - np.median(logarithms)) if len(logarithms) else logarithms
    return np.where(steps >= _STEP, modified_z(logarithms), 0.0)
