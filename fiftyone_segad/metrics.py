"""Metrics of anomaly detection, on arrays.

Every curve is built from a :class:`ScoreCounts`: how much of the normal and of the defective lies at each
score. Image scores are counted exactly; pixels, of which there are too many to sort, in :data:`PIXEL_BINS`
equal bins between the lowest and the highest score of a run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .maps import EIGHT_CONNECTED

PIXEL_BINS = 1 << 18
"""Bins for pixel scores. Within a bin scores count as equal, which changes a metric by at most the share of
pixels that share a bin."""

AUPRO_LIMITS = (0.3, 0.05)
"""False-positive rates up to which the per-region overlap is integrated: MVTec AD's limit, and the stricter
one of MVTec's later benchmarks."""


@dataclass(frozen=True)
class ScoreCounts:
    """Normal and defective weight at each distinct score, highest score first.

    Attributes:
        scores: float array ``[k]``, descending
        normal: weight of normal items at each score ``[k]``
        defective: weight of defective items at each score ``[k]``
    """

    scores: NDArray[np.float64]
    normal: NDArray[np.float64]
    defective: NDArray[np.float64]

    def rates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False- and true-positive rates ``[k + 1]`` from flagging nothing to flagging everything."""
        return _cumulative(self.normal), _cumulative(self.defective)

    @property
    def both_classes(self) -> bool:
        return bool(self.normal.sum() > 0 and self.defective.sum() > 0)


def count_scores(scores: ArrayLike, defective: ArrayLike) -> ScoreCounts:
    """Counts exact scores.

    Args:
        scores: float array ``[n]``
        defective: bool array ``[n]``

    Raises:
        ValueError: if the lengths differ or a score is not finite
    """
    values = np.asarray(scores, dtype=np.float64)
    truth = np.asarray(defective, dtype=bool)
    if values.shape != truth.shape:
        raise ValueError(f"{values.shape} scores do not match {truth.shape} labels")
    if not np.isfinite(values).all():
        raise ValueError("The scores hold NaN or infinite values")
    distinct, index = np.unique(-values, return_inverse=True)
    normal = np.bincount(index[~truth], minlength=len(distinct)).astype(float)
    positive = np.bincount(index[truth], minlength=len(distinct)).astype(float)
    return ScoreCounts(-distinct, normal, positive)


def auroc(counts: ScoreCounts) -> float | None:
    """Area under the ROC curve in [0, 1] by trapezoids, ties counted half. None if a class is absent.

    Source: Fawcett, "An introduction to ROC analysis", 2006.
    """
    if not counts.both_classes:
        return None
    fpr, tpr = counts.rates()
    return float(np.trapezoid(tpr, fpr))


def average_precision(counts: ScoreCounts) -> float | None:
    """Average precision in [0, 1]: the sum of precision times gain in recall, without interpolation.

    None if nothing is defective. Source: scikit-learn's ``average_precision_score`` has the same definition.
    """
    if counts.defective.sum() == 0:
        return None
    gained = counts.defective / counts.defective.sum()
    return float((gained * _precision(counts)).sum())


def f1_max(counts: ScoreCounts) -> tuple[float, float] | None:
    """The highest F1 over all thresholds and the score from which on (inclusive) it flags.

    The threshold has seen the truth. None if nothing is defective.
    """
    total = counts.defective.sum()
    if total == 0:
        return None
    hits = np.cumsum(counts.defective)
    f1 = 2 * hits / (np.cumsum(counts.normal) + hits + total)
    best = int(f1.argmax())
    return float(f1[best]), float(counts.scores[best])


def partial_area(counts: ScoreCounts, limit: float) -> float | None:
    """Area under the curve of the true- over the false-positive rate up to a limit, divided by the limit.

    With regions of equal weight as the defective this is AUPRO: the area under the per-region overlap curve
    (Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021), linearly interpolated at the limit.

    Args:
        counts: counts of scores
        limit: highest false-positive rate, in (0, 1]

    Returns:
        the normalised area in [0, 1], or None if a class is absent
    """
    if not counts.both_classes:
        return None
    fpr, overlap = counts.rates()
    inside = int(np.searchsorted(fpr, limit, side="right"))
    x = np.append(fpr[:inside], limit)
    y = np.append(overlap[:inside], np.interp(limit, fpr, overlap))
    return float(np.trapezoid(y, x) / limit)


def rates_at(scores: ArrayLike, defective: ArrayLike, threshold: float) -> dict[str, float | None]:
    """Precision, recall and false-positive rate of flagging scores above a threshold.

    A rate whose denominator is empty (nothing flagged, nothing defective, nothing normal) is None.
    """
    flagged = np.asarray(scores) > threshold
    truth = np.asarray(defective, dtype=bool)
    hits = int((flagged & truth).sum())
    alarms = int((flagged & ~truth).sum())
    return {
        "precision": _ratio(hits, hits + alarms),
        "recall": _ratio(hits, int(truth.sum())),
        "fpr": _ratio(alarms, int((~truth).sum())),
    }


@dataclass
class PixelCounts:
    """Collects the pixels of many maps in bounded memory (three histograms).

    Args:
        low: lowest score of the maps that will be added
        high: highest score
        bins: number of equal bins between them
    """

    low: float
    high: float
    bins: int = PIXEL_BINS
    regions: int = 0
    _normal: NDArray[np.float64] = field(init=False, repr=False)
    _defective: NDArray[np.float64] = field(init=False, repr=False)
    _overlap: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._normal, self._defective, self._overlap = np.zeros((3, self.bins))

    def add(self, anomaly: NDArray[np.floating], mask: NDArray[np.bool_] | None) -> None:
        """Adds one image.

        Args:
            anomaly: anomaly map ``[height, width]``
            mask: ground truth of the same shape, True on defects, or None if all of it is normal

        Raises:
            ValueError: if the shapes differ
        """
        if mask is not None and mask.shape != anomaly.shape:
            raise ValueError(f"The mask is {mask.shape}, the map {anomaly.shape} (height, width)")
        index = self._bin(anomaly)
        if mask is None or not mask.any():
            self._normal += np.bincount(index.ravel(), minlength=self.bins)
            return
        self._normal += np.bincount(index[~mask], minlength=self.bins)
        defective = index[mask]
        self._defective += np.bincount(defective, minlength=self.bins)
        labels, count = ndimage.label(mask, structure=EIGHT_CONNECTED)
        members = labels[mask]
        areas = np.bincount(members, minlength=count + 1)
        self._overlap += np.bincount(defective, weights=1 / areas[members], minlength=self.bins)
        self.regions += count

    @property
    def bin_width(self) -> float:
        """Distance of two neighbouring scores that are told apart."""
        return (self.high - self.low) / (self.bins - 1)

    def pixels(self) -> ScoreCounts:
        """Counts of pixels, for pixel AUROC, AP and F1."""
        return self._counts(self._defective)

    def overlap(self) -> ScoreCounts:
        """Counts in which every ground-truth region weighs 1, spread over its pixels, for AUPRO."""
        return self._counts(self._overlap)

    @classmethod
    def merge(cls, low: float, high: float, parts: Iterable[PixelCounts]) -> PixelCounts:
        """Adds up counts between the same scores, with the same bins."""
        several = list(parts)
        merged = cls(low, high, several[0].bins if several else PIXEL_BINS)
        for part in several:
            merged._normal += part._normal
            merged._defective += part._defective
            merged._overlap += part._overlap
            merged.regions += part.regions
        return merged

    def _bin(self, anomaly: NDArray[np.floating]) -> NDArray[np.int32]:
        span = self.high - self.low
        scale = (self.bins - 1) / span if span > 0 else 0.0
        index = np.rint((anomaly - np.float32(self.low)) * np.float32(scale)).astype(np.int32)
        return np.clip(index, 0, self.bins - 1)

    def _counts(self, defective: NDArray[np.float64]) -> ScoreCounts:
        scores = np.linspace(self.low, self.high, self.bins)[::-1]
        return ScoreCounts(scores, self._normal[::-1], defective[::-1])


def _cumulative(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.concatenate([[0.0], np.cumsum(weights)])
    return total / total[-1]


def _precision(counts: ScoreCounts) -> NDArray[np.float64]:
    hits = np.cumsum(counts.defective)
    flagged = hits + np.cumsum(counts.normal)
    return np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
