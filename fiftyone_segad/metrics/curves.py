"""Curves over all thresholds and the areas under them, from counts of scores.

Every curve is built from a ``ScoreCounts``: how much of the normal and of the defective lies at each score.
Image scores are counted exactly; pixels, of which there are too many to sort, in bins (``pixels``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

AUPRO_LIMITS = (0.3, 0.05)
"""False-positive rates up to which the per-region overlap is integrated: MVTec AD's limit (Bergmann et al., 2021), and
the stricter one of MVTec's later benchmarks."""

MAX_POINTS = 1000
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

    @property
    def both_classes(self) -> bool:
        """Whether there is something normal and something defective."""
        return bool(self.normal.sum() > 0 and self.defective.sum() > 0)

    def rates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return false- and true-positive rates ``[k + 1]`` from flagging nothing to flagging everything."""
        return _cumulative_shares(self.normal), _cumulative_shares(self.defective)

    def precision(self) -> NDArray[np.float64]:
        """Return the precision ``[k]`` of flagging each score and those above it; 0 where nothing is flagged."""
        true_positives = np.cumsum(self.defective)
        flagged = true_positives + np.cumsum(self.normal)
        return np.divide(true_positives, flagged, out=np.zeros_like(true_positives), where=flagged > 0)


class OperatingPoints(NamedTuple):
    """Thresholds at which a rate changes, descending, and the rates there; each an array ``[k]``."""

    thresholds: NDArray[np.float64]
    fpr: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]


def count_scores(scores: ArrayLike, defective: ArrayLike) -> ScoreCounts:
    """Count exact scores.

    Args:
        scores: float array ``[n]``
        defective: bool array ``[n]``

    Raises:
        ValueError: if the lengths differ or a score is not finite

    Examples:
        >>> counts = count_scores([0.2, 0.9, 0.2], [False, True, True])
        >>> counts.scores, counts.normal, counts.defective
        (array([0.9, 0.2]), array([0., 1.]), array([1., 1.]))
    """
    values = np.asarray(scores, dtype=np.float64)
    truth = np.asarray(defective, dtype=bool)
    if values.shape != truth.shape:
        raise ValueError(f"{values.shape} scores do not match {truth.shape} labels")
    if not np.isfinite(values).all():
        raise ValueError("The scores hold NaN or infinite values")
    negated, index = np.unique(-values, return_inverse=True)  # [k] ascending, so that the scores descend; [n]
    normal = np.bincount(index[~truth], minlength=len(negated)).astype(float)
    positive = np.bincount(index[truth], minlength=len(negated)).astype(float)
    return ScoreCounts(-negated, normal, positive)


def auroc(counts: ScoreCounts) -> float | None:
    """Compute the area under the ROC curve in [0, 1] by trapezoids, ties counted half. None if a class is absent.

    Source: Fawcett, "An introduction to ROC analysis", 2006.

    Examples:
        >>> auroc(count_scores([0.1, 0.4, 0.35, 0.8], [False, False, True, True]))
        0.75
    """
    if not counts.both_classes:
        return None
    fpr, tpr = counts.rates()
    return float(np.trapezoid(tpr, fpr))


def average_precision(counts: ScoreCounts) -> float | None:
    """Compute the average precision in [0, 1]: the sum of precision times gain in recall, without interpolation.

    None if nothing is defective. Source: scikit-learn's ``average_precision_score`` has the same definition.

    Examples:
        >>> round(average_precision(count_scores([0.1, 0.4, 0.35, 0.8], [False, False, True, True])), 3)
        0.833
    """
    if counts.defective.sum() == 0:
        return None
    recall_gained = counts.defective / counts.defective.sum()  # R_n - R_(n-1), [k]
    return min(float((recall_gained * counts.precision()).sum()), 1.0)  # rounding


def f1_max(counts: ScoreCounts) -> tuple[float, float] | None:
    """Find the highest F1 over all thresholds and the score from which on (inclusive) it flags.

    The threshold has seen the truth. None if nothing is defective.

    Examples:
        >>> f1_max(count_scores([0.1, 0.4, 0.35, 0.8], [False, False, True, True]))
        (0.8, 0.35)
    """
    total = counts.defective.sum()
    if total == 0:
        return None
    true_positives = np.cumsum(counts.defective)
    flagged = np.cumsum(counts.normal) + true_positives
    f1 = 2 * true_positives / (flagged + total)  # 2 TP / (TP + FP + TP + FN)
    best = int(f1.argmax())
    return float(f1[best]), float(counts.scores[best])


def partial_area(counts: ScoreCounts, limit: float) -> float | None:
    """Compute the area under the true- over the false-positive rate up to a limit, divided by the limit.

    With regions of equal weight as the defective (``PixelCounts.by_region``) the true-positive rate is the per-region
    overlap ``PRO``, and this is AUPRO, linearly interpolated at the limit (Bergmann et al., "The MVTec Anomaly
    Detection Dataset", IJCV 2021).

    Args:
        counts: counts of scores
        limit: highest false-positive rate, in (0, 1]

    Returns:
        the normalised area in [0, 1], or None if a class is absent

    Examples:
        >>> partial_area(count_scores([0.1, 0.4, 0.35, 0.8], [False, False, True, True]), limit=0.5)
        0.5
    """
    if not counts.both_classes:
        return None
    fpr, tpr = counts.rates()  # [k + 1]
    inside = int(np.searchsorted(fpr, limit, side="right"))
    x = np.append(fpr[:inside], limit)
    y = np.append(tpr[:inside], np.interp(limit, fpr, tpr))
    return float(np.trapezoid(y, x) / limit)


def operating_points(counts: ScoreCounts, max_points: int) -> OperatingPoints | None:
    """Compute the rates at thresholds between the scores; None if a class is absent.

    Args:
        counts: counts of scores
        max_points: thresholds at most; they are taken at even distances in the order of the scores

    Examples:
        >>> points = operating_points(count_scores([1.0, 2.0, 4.0], [False, True, True]), max_points=200)
        >>> points.thresholds.round(2), points.recall
        (array([3. , 1.5, 1. ]), array([0.5, 1. , 1. ]))
    """
    if not counts.both_classes:
        return None
    fpr, recall = (rates[1:] for rates in counts.rates())  # [k]
    # What is above a threshold is flagged: it lies between a score and the next lower one
    next_lower = np.append(counts.scores[1:], counts.scores[-1] - 1e-6)
    thresholds = (counts.scores + next_lower) / 2
    index = np.unique(np.linspace(0, len(fpr) - 1, min(max_points, len(fpr))).round().astype(int))
    return OperatingPoints(thresholds[index], fpr[index], recall[index], counts.precision()[index])


def overlap_to_limit(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut the per-region overlap curve at AUPRO's limit, interpolated there.

    Args:
        x: false-positive rates ``[n]``, ascending
        y: mean overlap of the regions (PRO) ``[n]``

    Returns:
        x and y ``[k]`` up to a false-positive rate of 0.3; empty if a class is absent

    Examples:
        >>> overlap_to_limit(np.array([0.0, 0.2, 1.0]), np.array([0.0, 0.6, 1.0]))
        (array([0. , 0.2, 0.3]), array([0.  , 0.6 , 0.65]))
    """
    if not len(x):
        return x, y
    limit = AUPRO_LIMITS[0]
    inside = x <= limit
    return np.append(x[inside], limit), np.append(y[inside], np.interp(limit, x, y))


def subsample_curve(
    x: NDArray[np.float64], y: NDArray[np.float64], max_points: int = MAX_POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Choose points of a curve at equal distances along it, so that a steep start keeps as many as a flat end.

    Args:
        x: floats ``[n]``
        y: floats ``[n]``
        max_points (1000): points at most, 2 or more

    Returns:
        x and y of the chosen points, the first and the last among them; all if they are few

    Examples:
        >>> x = np.linspace(0, 1, 10001)
        >>> x, y = subsample_curve(x, np.sqrt(x), max_points=3)
        >>> x.round(2), y.round(2)  # the one in the middle is as far along and up from the first as from the last
        (array([0.  , 0.38, 1.  ]), array([0.  , 0.62, 1.  ]))
    """
    if len(x) <= max_points:
        return x, y
    # Length of each step in shares of the curve's width and height, along the axes (no roots: a monotone curve has the
    # length 2)
    steps = [np.abs(np.diff(values)) / (np.ptp(values) or 1) for values in (x, y)]
    length = np.concatenate([[0.0], np.cumsum(steps[0] + steps[1])])  # from the first point to each, [n]
    index = np.searchsorted(length, np.linspace(0, length[-1], max_points))
    last = len(x) - 1
    index = np.unique(np.append(np.minimum(index, last)[:-1], last))
    return x[index], y[index]


def _cumulative_shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the weights ``[k]`` in the first 0, 1, ... k of them: ``[k + 1]``."""
    total = np.concatenate([[0.0], np.cumsum(weights)])
    return total / total[-1]
