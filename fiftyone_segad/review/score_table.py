"""Scores and truth of the images of a run as arrays: counts and rates at any threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.classes import is_normal
from ..metrics.confusion import Confusion, confusion
from ..metrics.curves import OperatingPoints, count_scores, f1_max, operating_points
from ..metrics.summary import image_metrics
from ..registry.keys import ANOMALOUS, NORMAL

HISTOGRAM_BINS = 40
"""Bars of the histogram."""

MAX_CURVE_POINTS = 200
"""Points of a curve at most."""

_REACH = 20
"""How far from the median the histogram may end, in distances from there to the quantiles 0.05 and 0.95."""

UNKNOWN = "unknown"
"""Truth of images that nothing is known of."""

REFERENCE = "reference"
"""Truth of normal images that the run compares with: it has seen them, so they are no test of it."""

MAX_IMAGES = 60
"""Images at most of a choice that has no natural end, such as the highest scores."""


@dataclass(frozen=True)
class ScoreTable:
    """Scores and truth of the images of a run.

    Attributes:
        ids: sample ids ``[n]``
        scores: float64 array ``[n]``
        truth: ``normal``, ``anomalous``, ``unknown`` or ``reference``, array ``[n]``; rates and curves are of the
            first two
        defects: kind of defect or None, ``[n]``

    Examples:
        >>> truth = np.array(["normal", "anomalous", "unknown"])
        >>> table = ScoreTable(np.array(["a", "b", "c"]), np.array([0.2, 0.9, 0.5]), truth, [None, "dent", None])
        >>> table.flagged(0.4), table.confusion(0.4)
        (2, Confusion(tp=1, fp=0, fn=0, tn=1))
    """

    ids: NDArray[np.str_]
    scores: NDArray[np.float64]
    truth: NDArray[np.str_]
    defects: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> bool:
        """Whether the truth of an image is known that is none of the reference."""
        return bool(self._tested.any())

    @property
    def references(self) -> int:
        """Number of images of the reference."""
        return int((self.truth == REFERENCE).sum())

    @property
    def _tested(self) -> NDArray[np.bool_]:
        return np.isin(self.truth, (NORMAL, ANOMALOUS))

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest score, but for single ones that are so far out that they would hide all others."""
        low, high = float(self.scores.min()), float(self.scores.max())
        lower, middle, upper = np.quantile(self.scores, [0.05, 0.5, 0.95]).tolist()
        reach = _REACH * max(middle - lower, upper - middle) or high - low
        return max(low, middle - reach), min(high, middle + reach)

    def score_of(self, id: str) -> float | None:
        """Return the score of an image; None if it has none."""
        index = np.flatnonzero(self.ids == id)
        return float(self.scores[index[0]]) if len(index) else None

    def flagged(self, threshold: float) -> int:
        """Count the images above a threshold."""
        return int((self.scores > threshold).sum())

    def confusion(self, threshold: float) -> Confusion:
        """Count the images whose truth is known, by outcome at a threshold."""
        tested = self._tested
        return confusion(self.scores[tested] > threshold, self.truth[tested] == ANOMALOUS)

    def histogram(self) -> tuple[NDArray[np.float64], dict[str, NDArray[np.int64]]]:
        """Count the images by score and truth; the bars at the ends hold what is farther out, too.

        Returns:
            edges ``[HISTOGRAM_BINS + 1]`` and, by truth that occurs, counts ``[HISTOGRAM_BINS]``
        """
        low, high = self.span
        edges = np.linspace(low, high if high > low else low + 1, HISTOGRAM_BINS + 1)
        clipped = np.clip(self.scores, edges[0], edges[-1])
        return edges, {
            truth: np.histogram(clipped[self.truth == truth], edges)[0]
            for truth in (NORMAL, ANOMALOUS, UNKNOWN, REFERENCE)
            if (self.truth == truth).any()
        }

    def bar_at(self, x: float) -> tuple[float, float]:
        """Return the lowest and the highest score in the bar of the histogram that is nearest to a place."""
        edges, _ = self.histogram()
        index = int(np.clip(np.searchsorted(edges, x) - 1, 0, HISTOGRAM_BINS - 1))
        low = -np.inf if index == 0 else edges[index]
        high = np.inf if index == HISTOGRAM_BINS - 1 else np.nextafter(edges[index + 1], -np.inf)
        inside = self.scores[(self.scores >= low) & (self.scores <= high)]
        return (float(inside.min()), float(inside.max())) if len(inside) else (float(edges[index]), float(edges[index]))

    def rates(self) -> OperatingPoints | None:
        """Compute false-positive rate, recall and precision for each threshold at which one of them changes.

        Returns:
            at most ``MAX_CURVE_POINTS`` of them; None if the truth of normal or of defective images is unknown
        """
        tested = self._tested
        counts = count_scores(self.scores[tested], self.truth[tested] == ANOMALOUS)
        return operating_points(counts, MAX_CURVE_POINTS)

    def metrics(self, threshold: float) -> dict[str, float | int | None]:
        """Compute the metrics of the images whose truth is known: AUROC, AP, and the rates at a threshold."""
        tested = self._tested
        return image_metrics(self.scores[tested], self.scores[tested] > threshold, self.truth[tested] == ANOMALOUS)

    def best_f1(self) -> tuple[float, float] | None:
        """Find the highest F1 and the threshold that has it, which has seen the truth; None without both classes."""
        tested = self._tested
        counts = count_scores(self.scores[tested], self.truth[tested] == ANOMALOUS)
        best = f1_max(counts) if counts.both_classes else None
        # Scores from there on are flagged, and a threshold flags what is above it
        return None if best is None else (best[0], float(np.nextafter(best[1], -np.inf)))

    def by_defect(self, threshold: float) -> list[dict[str, Any]]:
        """Compute rows ``defect``, ``images``, ``flagged``, ``recall`` and ``auroc`` (against all normal images)."""
        normal = self.truth == NORMAL
        rows = []
        for defect in sorted({name for name in self.defects if name and not is_normal(name)}):
            with_defect = self._has_defect(defect)
            scores = np.concatenate([self.scores[normal], self.scores[with_defect]])
            metrics = image_metrics(scores, scores > threshold, np.arange(len(scores)) >= normal.sum())
            rows.append(
                {
                    "defect": defect,
                    "images": metrics["n_anomalous"],
                    "flagged": int((self.scores[with_defect] > threshold).sum()),
                    "recall": metrics["recall"],
                    "auroc": metrics["image_auroc"],
                }
            )
        return rows

    def _has_defect(self, defect: str) -> NDArray[np.bool_]:
        return np.array([name == defect for name in self.defects])
