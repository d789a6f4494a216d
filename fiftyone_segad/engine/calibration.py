"""Calibrate a run once all of its images are scored: its thresholds, and the range of its heatmaps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..metrics.pixels import Bins
from ..scoring.conformal import FalseAlarmShare, NormalScores
from ..scoring.thresholds import ThresholdRule, Thresholds, choose_thresholds, quantile_threshold
from ..segments.zones import IGNORED
from ..storage.records import ImageScores
from ..storage.store import RunStore
from .siblings import part_numbers

_PIXEL_SIDE = 64
"""Side of the maps from which pixel thresholds are taken; maps are smooth at the scale of a segment."""

_PIXEL_IMAGES = 1000
"""Images from which pixel thresholds and the heatmaps' range are taken at most."""

_HIDDEN_SHARE = 0.9
"""Share of normal pixels (of all, if no normals are known) that heatmaps leave clear."""


@dataclass(frozen=True)
class Calibration:
    """The outcome of ``calibrate``.

    Attributes:
        thresholds: the thresholds
        compared: image scores that p-values are relative to: of normals, or of all images if none are known
        map_range: scores that heatmaps show as 0 and 255
        false_alarm_share: share of new good images that the thresholds flag; None if no normals are known
        warnings: what the user should know
    """

    thresholds: Thresholds
    compared: NormalScores
    map_range: tuple[float, float]
    false_alarm_share: FalseAlarmShare | None
    warnings: list[str]


def calibrate(
    store: RunStore,
    method: str,
    rule: ThresholdRule,
    ids: set[str],
    truth: Callable[[], tuple[float, float]] | None,
) -> Calibration:
    """Find the thresholds of a run and the range of its heatmaps.

    Args:
        store: the run's store, its images scored
        method: the run's method
        rule: the rule of the thresholds
        ids: ids of the scored samples that the dataset still has
        truth: gives the thresholds of the highest F1, for the rule ``f1``

    Raises:
        ValueError: if the rule needs normals or ground truth and there are none
    """
    image_scores = np.array([record.image_score for record in store.scores_of(ids)], np.float64)
    normals = normal_scores(store)
    normal_pixels = map_pixels(store.normals)
    thresholds, warnings = choose_thresholds(rule, image_scores, normals, normal_pixels, truth() if truth else None)
    if rule.kind == "fpr" and thresholds.image == normals.scores.max():
        highest = max(store.normals, key=lambda record: record.image_score)
        warnings.append(f"The threshold is the score of a single normal image; look whether it is one: {highest.id}")
    if method == "within_image":  # its masks are the outlier segments, whatever the image threshold
        thresholds = replace(thresholds, pixel=None)
    background = normal_pixels if normal_pixels.size else map_pixels(store.scores_of(ids))
    low = quantile_threshold(background, _HIDDEN_SHARE)
    high = max(float(np.quantile(image_scores, 0.99)), thresholds.image)
    share = normals.false_alarm_share(thresholds.image) if len(normals) else None
    compared = normals if len(normals) else NormalScores.of(image_scores)
    return Calibration(thresholds, compared, (low, max(high, low + 1e-6)), share, warnings)


def normal_scores(store: RunStore) -> NormalScores:
    """Return the scores of a run's normal images and their groups; empty if none are known."""
    return group_scores(store.normals, store.groups() or [])


def group_scores(records: Iterable[ImageScores], groups: Sequence[Sequence[str]]) -> NormalScores:
    """Return the scores of normal images with the parts that they show.

    Args:
        records: the normal images, their ids their paths
        groups: the paths of each group that shows the same part
    """
    scores = [(record.id, record.image_score) for record in records]
    parts = part_numbers([path for path, _ in scores], groups)
    return NormalScores.of([score for _, score in scores], parts)


def map_pixels(records: Iterable[ImageScores]) -> NDArray[np.float32]:
    """Return the pixels of small anomaly maps of images that are not ignored, ``[images * side * side]`` at most."""
    size = (_PIXEL_SIDE, _PIXEL_SIDE)
    first = islice(records, _PIXEL_IMAGES)
    maps = [_inspected(record, record.map(size)) for record in first]
    return np.concatenate(maps) if maps else np.zeros(0, np.float32)


def _inspected(record: ImageScores, anomaly: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the pixels of a map that are not ignored, ``[pixels]``."""
    return anomaly.ravel() if record.zones is None else anomaly[record.zones.labels(anomaly) != IGNORED]


def score_bins(store: RunStore) -> Bins:
    """Make bins between the lowest and the highest segment score of a run, which its maps stay within."""
    lows, highs = zip(*((record.scores.min(), record.scores.max()) for record in store.scores), strict=True)
    return Bins(float(min(lows)), float(max(highs)))
