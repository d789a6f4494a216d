"""Turn the scores of an image's segments into its image score and its predicted mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..scoring.levels import LevelScores
from ..scoring.thresholds import Thresholds
from ..segments.maps import anomaly_map, anomaly_mask, segments_mask
from ..storage.records import ImageScores
from ..utils.timing import StageTimer


def image_scores(
    id: str, scored: LevelScores, timer: StageTimer, outliers: NDArray[np.bool_] | None = None
) -> ImageScores:
    """Make the record of an image from the scores of its segments; the image's score is the peak of its map.

    Args:
        id: name under which it is kept
        scored: its segments and their scores ``[n]``
        timer: counts the seconds of the map
        outliers: bool array ``[n]``, segments that the method itself calls outliers; None if it has no such rule

    Examples:
        >>> from fiftyone_segad.segments.boxes import grid
        >>> scores = np.array([0, 0, 0, 2], np.float32)
        >>> image_scores("a.png", (grid((8, 8), 2), scores), StageTimer()).image_score
        2.0
    """
    segments, scores = scored
    with timer("map"):
        peak = float(anomaly_map(segments, scores).max())
    return ImageScores(id, segments, scores, np.zeros(len(scores), bool) if outliers is None else outliers, peak)


def predicted_mask(record: ImageScores, anomaly: NDArray[np.floating], thresholds: Thresholds) -> NDArray[np.uint8]:
    """Predict the mask of an image at the thresholds of its run.

    Args:
        record: the scores of its segments
        anomaly: its anomaly map ``[height, width]``
        thresholds: with a pixel threshold the map decides, without one the outlier segments

    Returns:
        a uint8 array ``[height, width]``, 255 on defects and 0 elsewhere
    """
    if thresholds.pixel is None:
        return segments_mask(record.segments, record.outliers)
    return anomaly_mask(anomaly, thresholds.pixel, thresholds.image)
