"""Turn the scores of an image's segments into its image score and its predicted mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..scoring.levels import LevelScores
from ..scoring.thresholds import Thresholds
from ..segments.boxes import Segments
from ..segments.maps import anomaly_map, anomaly_mask, segments_mask
from ..segments.regions import Region, connected_regions
from ..segments.zones import IGNORED, ZoneMap, ZoneScale
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
    image_score = _top_mean(segments, scores) if outliers is None else None
    if image_score is None:
        with timer("map"):
            image_score = float(anomaly_map(segments, scores).max())
    return ImageScores(id, segments, scores, np.zeros(len(scores), bool) if outliers is None else outliers, image_score)


def zone_scores(record: ImageScores, zones: ZoneMap, has_outliers: bool) -> dict[str, float]:
    """Score an image in each of its zones by the rule of ``image_scores``, as if there was nothing else.

    Args:
        record: the scores of its segments; those with their centres in a zone count there
        zones: its zones
        has_outliers: whether the method calls segments outliers itself
    """
    of_segments = zones.of_segments(record.segments)  # [n]
    anomaly: NDArray[np.float32] | None = None
    scores = {}
    for name in zones.present:
        number = zones.names.index(name) + 1
        score = None if has_outliers else _top_mean(record.segments, record.scores[of_segments == number])
        if score is None:
            anomaly = anomaly_map(record.segments, record.scores) if anomaly is None else anomaly
            score = float(anomaly[zones.at(record.segments.size) == number].max())
        scores[name] = score
    return scores


Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Turns the scores ``[n]`` of the segments of an image into others."""


def score_with(record: ImageScores, change: Change) -> float:
    """Score an image as its run would if the scores of its segments were others.

    Args:
        record: the image
        change: what is done to them, before zones
    """
    if record.zones is None:
        return image_scores(record.id, (record.segments, change(record.scores)), StageTimer()).image_score
    zones = record.zones
    scores = zone_scores(replace(record, scores=change(zones.raw), zones=None), zones.zones, has_outliers=False)
    return max(zones.scales.get(name, ZoneScale())(score) for name, score in scores.items())


def _top_mean(segments: Segments, scores: NDArray[np.float32]) -> float | None:
    """Return the mean of the highest of scores ``[m]``; None if it is the peak of the map that counts."""
    count = round(TOP_SHARE * len(scores))
    if count <= 1 or segments.straight.shape is None:
        return None
    return float(np.partition(scores, -count)[-count:].mean(dtype=np.float64))


def predicted_mask(record: ImageScores, anomaly: NDArray[np.floating], thresholds: Thresholds) -> NDArray[np.uint8]:
    """Predict the mask of an image at the thresholds of its run.

    Args:
        record: the scores of its segments
        anomaly: its anomaly map ``[height, width]``
        thresholds: with a pixel threshold the map decides, without one the outlier segments

    Returns:
        a uint8 array ``[height, width]``, 255 on defects and 0 elsewhere. With a pixel threshold it has defects if and
        only if the image is flagged (``decided_score``)
    """
    mask = _mask_above(record, anomaly, thresholds)
    if thresholds.min_area:
        _counting_regions(record, mask, anomaly, thresholds)
    return mask


def _mask_above(record: ImageScores, anomaly: NDArray[np.floating], thresholds: Thresholds) -> NDArray[np.uint8]:
    """Predict the mask of an image, regions that are too small to count included."""
    if thresholds.pixel is None:
        mask = segments_mask(record.segments, record.outliers)
    elif record.image_score <= thresholds.image:
        return np.zeros(anomaly.shape, np.uint8)
    else:
        inspected = anomaly if record.zones is None else np.where(record.zones.labels(anomaly), anomaly, -np.inf)
        # The highest place stays where none reaches the threshold: a map may lie a little below the segments' scores
        peak = min(thresholds.image, float(np.nextafter(anomaly.max(), -np.inf)))
        mask = anomaly_mask(inspected, thresholds.pixel, peak, cut=True)
    if record.zones is not None:
        mask[record.zones.labels(anomaly) == IGNORED] = 0
    return mask


def predict_regions(record: ImageScores, thresholds: Thresholds) -> tuple[NDArray[np.uint8] | None, list[Region]]:
    """Predict the mask of an image and its regions, highest peak first; None and no regions if the mask is empty."""
    if thresholds.pixel is not None and record.image_score <= thresholds.image:
        return None, []  # an image that is not flagged has no regions: no need to draw its map
    anomaly = record.map()
    mask = _mask_above(record, anomaly, thresholds)
    regions = _counting_regions(record, mask, anomaly, thresholds)
    return (mask if regions else None), regions


def _counting_regions(
    record: ImageScores, mask: NDArray[np.uint8], anomaly: NDArray[np.floating], thresholds: Thresholds
) -> list[Region]:
    """Find the regions of a mask, and take those out of it that are too small to count."""
    found = _regions(record, mask, anomaly)
    if not thresholds.min_area:
        return found
    regions: list[Region] = []
    small: list[Region] = []
    for region in found:
        (small if region.area < thresholds.min_area_in(region.zone) else regions).append(region)
    for region in small:
        mask[region.slices][region.mask] = 0
    return regions


def _regions(record: ImageScores, mask: NDArray[np.uint8], anomaly: NDArray[np.floating]) -> list[Region]:
    """Find the regions of a mask with the zones in which their peaks lie."""
    regions = connected_regions(mask, anomaly)
    if record.zones is None:
        return regions
    labels, names = record.zones.labels(anomaly), record.zones.zones.names
    return [replace(region, zone=names[labels[region.peak(anomaly)] - 1]) for region in regions]


def decided_score(
    record: ImageScores, thresholds: Thresholds, find_regions: Callable[[], Sequence[Region]] | None = None
) -> float:
    """Return the score by which an image is decided: the threshold if all that is above it is too small to count.

    Args:
        record: the scores of its segments
        thresholds: the thresholds
        find_regions: gives the image's regions, where these are found anyway; called only if they decide
    """
    score = record.image_score
    if not thresholds.min_area or score <= thresholds.image:
        return score
    regions = predict_regions(record, thresholds)[1] if find_regions is None else find_regions()
    return score if regions else thresholds.image
