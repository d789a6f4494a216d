"""Metrics of anomaly detection, on arrays.

Every curve is built from a ``ScoreCounts``: how much of the normal and of the defective lies at each score.
Image scores are counted exactly; pixels, of which there are too many to sort, in bins (``pixels``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

AUPRO_LIMITS = (0.3, 0.05)
"""False-positive rates up to which the per-region overlap is integrated: MVTec AD's limit, and the stricter
one of MVTec's later benchmarks."""

MOST_POINTS = 1000
"""Points of a curve that are drawn."""


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
    """Count exact scores.

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
    return min(float((gained * precision_of(counts)).sum()), 1.0)  # rounding


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


@dataclass(frozen=True)
class Confusion:
    """Items by truth and prediction: images, or pixels.

    Attributes:
        tp: defective, flagged
        fp: normal, flagged
        fn: defective, not flagged
        tn: normal, not flagged
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def precision(self) -> float | None:
        """Share of the flagged that are defective, in [0, 1]; None if nothing is flagged."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """Share of the defective that are flagged, in [0, 1]; None if nothing is defective."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def fpr(self) -> float | None:
        """Share of the normal that are flagged, in [0, 1]; None if nothing is normal."""
        return _ratio(self.fp, self.fp + self.tn)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, in [0, 1]; None if nothing is flagged or defective."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float | None:
        """Intersection over union (Jaccard index), in [0, 1]; None if nothing is flagged or defective."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)


def confusion(flagged: ArrayLike, defective: ArrayLike) -> Confusion:
    """Count bool arrays of one shape."""
    predicted, truth = np.asarray(flagged, bool), np.asarray(defective, bool)
    tp = int(np.count_nonzero(predicted & truth))
    fp, fn = int(np.count_nonzero(predicted)) - tp, int(np.count_nonzero(truth)) - tp
    return Confusion(tp, fp, fn, truth.size - tp - fp - fn)


def _cumulative(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.concatenate([[0.0], np.cumsum(weights)])
    return total / total[-1]


def precision_of(counts: ScoreCounts) -> NDArray[np.float64]:
    """Precision ``[k]`` of flagging each score and those above it; 0 where nothing is flagged."""
    hits = np.cumsum(counts.defective)
    flagged = hits + np.cumsum(counts.normal)
    return np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def overlap_to_limit(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut the per-region overlap curve at AUPRO's limit, interpolated there.

    Args:
        x: false-positive rates ``[n]``, ascending
        y: mean overlap of the regions (PRO) ``[n]``

    Returns:
        x and y ``[k]`` up to a false-positive rate of 0.3; empty if a class is absent
    """
    if not len(x):
        return x, y
    inside = x <= AUPRO_LIMITS[0]
    return np.append(x[inside], AUPRO_LIMITS[0]), np.append(y[inside], np.interp(AUPRO_LIMITS[0], x, y))


def thin(
    x: NDArray[np.float64], y: NDArray[np.float64], most: int = MOST_POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Chooses points of a curve at equal distances along it, so that a steep start keeps as many as a flat end.

    Args:
        x: floats ``[n]``
        y: floats ``[n]``
        most (1000): points at most, 2 or more

    Returns:
        x and y of the chosen points, the first and the last among them; all if they are few
    """
    if len(x) <= most:
        return x, y
    steps = [np.abs(np.diff(values)) / (np.ptp(values) or 1) for values in (x, y)]
    along = np.concatenate([[0.0], np.cumsum(steps[0] + steps[1])])
    index = np.searchsorted(along, np.linspace(0, along[-1], most))
    chosen = np.unique(np.append(np.minimum(index, len(x) - 1)[:-1], len(x) - 1))
    return x[chosen], y[chosen]
