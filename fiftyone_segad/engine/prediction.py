"""Turn the scores of an image's segments into its image score and its predicted mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..scoring.levels import LevelScores
from ..scoring.thresholds import Thresholds
from ..segments.maps import anomaly_map, anomaly_mask, segments_mask
from ..segments.regions import Region, connected_regions
from ..storage.records import ImageScores
from ..utils.timing import StageTimer

TOP_SHARE = 0.005
"""Share of an image's segments, those of the highest scores, whose mean is its score: it varies less from picture to
picture of one part than the peak, and a defect of a few patches still fills it."""


def image_scores(
    id: str, scored: LevelScores, timer: StageTimer, outliers: NDArray[np.bool_] | None = None
) -> ImageScores:
    """Make the record of an image from the scores of its segments.

    The image's score is the mean of the highest of them, a share ``TOP_SHARE``. Where that is less than two, for boxes
    in any arrangement, and with outliers, whose method knows no such mean, it is the peak of the anomaly map.

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
    count = round(TOP_SHARE * len(scores))
    if count > 1 and outliers is None and segments.shape is not None:
        image_score = float(np.partition(scores, -count)[-count:].mean(dtype=np.float64))
    else:
        with timer("map"):
            image_score = float(anomaly_map(segments, scores).max())
    return ImageScores(id, segments, scores, np.zeros(len(scores), bool) if outliers is None else outliers, image_score)


def predicted_mask(record: ImageScores, anomaly: NDArray[np.floating], thresholds: Thresholds) -> NDArray[np.uint8]:
    """Predict the mask of an image at the thresholds of its run.

    Args:
        record: the scores of its segments
        anomaly: its anomaly map ``[height, width]``
        thresholds: with a pixel threshold the map decides, without one the outlier segments

    Returns:
        a uint8 array ``[height, width]``, 255 on defects and 0 elsewhere. With a pixel threshold it has defects if and
        only if the image is flagged
    """
    if thresholds.pixel is None:
        return segments_mask(record.segments, record.outliers)
    if record.image_score <= thresholds.image:
        return np.zeros(anomaly.shape, np.uint8)
    # The highest place stays where none reaches the threshold: a map may lie a little below the segments' scores
    peak = min(thresholds.image, float(np.nextafter(anomaly.max(), -np.inf)))
    return anomaly_mask(anomaly, thresholds.pixel, peak, cut=True)


def predict_regions(record: ImageScores, thresholds: Thresholds) -> tuple[NDArray[np.uint8] | None, list[Region]]:
    """Predict the mask of an image and its regions, highest peak first; None and no regions if the mask is empty."""
    if thresholds.pixel is not None and record.image_score <= thresholds.image:
        return None, []  # an image that is not flagged has no regions: no need to draw its map
    anomaly = anomaly_map(record.segments, record.scores)
    mask = predicted_mask(record, anomaly, thresholds)
    regions = connected_regions(mask, anomaly)
    return (mask if regions else None), regions
