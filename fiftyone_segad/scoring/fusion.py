"""Fusion: the scores of several levels, put on one scale by images that were held out, become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..embedders.base import Level
from ..segments.boxes import Segments
from ..segments.maps import anomaly_map, interpolate

LevelScores = tuple[Segments, NDArray[np.float32]]
"""The segments of one level of an image and their scores."""

SIDE = 32
"""Side of the maps of usual scores."""

_SMOOTHING = 1.0
"""Standard deviation, in cells of such a map, of the Gaussian that smooths it."""


@dataclass(frozen=True)
class ScoreNormalizer:
    """How the scores of a level become comparable with those of another.

    Attributes:
        centre: score of a usual place of a usual image
        spread: peak of a usual image, above ``centre``
        damping: float32 array ``[32, 32]`` over the image, what scores are divided by; at least 1
    """

    centre: float
    spread: float
    damping: NDArray[np.float32]

    def __call__(self, scored: LevelScores) -> NDArray[np.float32]:
        """The scores ``[n]`` on the common scale: 0 is usual, 1 is the peak of a usual image."""
        segments, scores = scored
        return ((scores / self.factors(segments) - self.centre) / self.spread).astype(np.float32)

    def factors(self, segments: Segments) -> NDArray[np.float64]:
        """What the score of each segment ``[n]`` is divided by."""
        centres = (segments.boxes[:, :2] + segments.boxes[:, 2:]) / 2 / segments.size * SIDE - 0.5
        factors: NDArray[np.float64] = ndimage.map_coordinates(
            self.damping, centres[:, ::-1].T, order=1, mode="nearest"
        )
        return factors


def fit_scale(level: Level, scored: Sequence[LevelScores]) -> ScoreNormalizer:
    """Find the scale of a level from images that were scored without themselves.

    Where the images' scores are usually higher than elsewhere, as at the borders of a network's maps or of parts, they
    are divided by the square root of the excess, if the level is ``positional``. Medians over the images let a few
    defective ones among them do no harm.

    Args:
        level: the level
        scored: scores of at least one image

    Raises:
        ValueError: if there is no image
    """
    if not scored:
        raise ValueError("A scale needs scored images")
    damping = np.ones((SIDE, SIDE), np.float32)
    if level.positional:
        usual = np.median([anomaly_map(*each, (SIDE, SIDE)) for each in scored], axis=0)
        usual = ndimage.gaussian_filter(usual, _SMOOTHING, mode="nearest")
        # With few images the map is that of these images rather than of the product
        strength = 0.5 * len(scored) / (len(scored) + 10)
        damping = (np.maximum(usual / max(float(usual.mean()), 1e-12), 1) ** strength).astype(np.float32)
    damped = ScoreNormalizer(0, 1, damping)
    scores = [damped(each) for each in scored]
    centre = float(np.median([each.mean() for each in scores]))
    spread = float(np.median([each.max() for each in scores])) - centre
    return ScoreNormalizer(centre, max(spread, 1e-6), damping)


def fuse(levels: Sequence[Level], scored: Sequence[LevelScores], scales: Sequence[ScoreNormalizer]) -> LevelScores:
    """The weighted mean of the levels' scaled scores, on the segments of the finest level.

    Args:
        levels: the levels
        scored: their scores for one image
        scales: their scales

    Returns:
        the segments and their scores: 0 for a usual place, about 1 for the highest of a usual image
    """
    total = sum(level.weight for level in levels)
    finest = max((segments for segments, _ in scored), key=len)
    assert finest.shape is not None
    x, y = finest.columns.mean(axis=1), finest.rows.mean(axis=1)
    fused = np.zeros(len(finest), np.float32)
    for level, (segments, scores), scale in zip(levels, scored, scales, strict=True):
        values = scale((segments, scores))
        if segments is not finest:
            values = interpolate(segments, values, x, y).ravel()
        fused += level.weight / total * values
    return finest, fused
