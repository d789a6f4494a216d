"""Counts of items by truth and prediction at one threshold, and the rates that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


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
    """Count bool arrays of one shape.

    Examples:
        >>> counts = confusion(flagged=[True, True, False, False], defective=[True, False, True, False])
        >>> counts
        Confusion(tp=1, fp=1, fn=1, tn=1)
        >>> counts.recall, counts.fpr
        (0.5, 0.5)
    """
    predicted, truth = np.asarray(flagged, bool), np.asarray(defective, bool)
    tp = int(np.count_nonzero(predicted & truth))
    fp, fn = int(np.count_nonzero(predicted)) - tp, int(np.count_nonzero(truth)) - tp
    return Confusion(tp, fp, fn, truth.size - tp - fp - fn)


def _ratio(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None
