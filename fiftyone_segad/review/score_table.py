"""Scores and truth of the images of a run as arrays: choices of images, and counts and rates at any threshold."""

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

UNKNOWN = "unknown"
"""Truth of images that nothing is known of."""

REFERENCE = "reference"
"""Truth of normal images that the run compares with: it has seen them, so they are no test of it."""

MAX_IMAGES = 60
"""Images at most of a choice that has no natural end, such as the highest scores."""

CHOICES = ("highest", "uncertain", "flagged", "TP", "FP", "FN", "TN")


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
        >>> table.choose("uncertain", 0.4)  # nearest to the threshold first
        ['c', 'a', 'b']
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
    def range(self) -> tuple[float, float]:
        """Lowest and highest score."""
        return float(self.scores.min()), float(self.scores.max())

    def flagged(self, threshold: float) -> int:
        """Count the images above a threshold."""
        return int((self.scores > threshold).sum())

    def confusion(self, threshold: float) -> Confusion:
        """Count the images whose truth is known, by outcome at a threshold."""
        tested = self._tested
        return confusion(self.scores[tested] > threshold, self.truth[tested] == ANOMALOUS)

    def histogram(self) -> tuple[NDArray[np.float64], dict[str, NDArray[np.int64]]]:
        """Count the images by score and truth.

        Returns:
            edges ``[HISTOGRAM_BINS + 1]`` and, by truth that occurs, counts ``[HISTOGRAM_BINS]``
        """
        low, high = self.range
        edges = np.linspace(low, high if high > low else low + 1, HISTOGRAM_BINS + 1)
        return edges, {
            truth: np.histogram(self.scores[self.truth == truth], edges)[0]
            for truth in (NORMAL, ANOMALOUS, UNKNOWN, REFERENCE)
            if (self.truth == truth).any()
        }

    def between(self, low: float, high: float) -> list[str]:
        """Return the ids of the images with scores from ``low`` to ``high``, highest first."""
        return self._highest_first((self.scores >= low) & (self.scores <= high))

    def choose(self, choice: str, threshold: float) -> list[str]:
        """Return ids of images, in the order in which one would look at them.

        Args:
            choice: ``highest`` scores; ``uncertain``, those nearest to the threshold; ``flagged``, or those with an
                outcome: ``TP``, ``FP``, ``FN``, ``TN``. Highest scores first, but for the uncertain ones
            threshold: the threshold

        Raises:
            ValueError: if there is no such choice
        """
        if choice not in CHOICES:
            raise ValueError(f"There is no choice {choice!r}; use one of {list(CHOICES)}")
        above = self.scores > threshold
        if choice == "highest":
            return self._highest_first(np.ones(len(self), bool))[:MAX_IMAGES]
        if choice == "uncertain":
            order = np.argsort(np.abs(self.scores - threshold), kind="stable")[:MAX_IMAGES]
            return [str(id) for id in self.ids[order]]
        if choice == "flagged":
            return self._highest_first(above)
        truth = ANOMALOUS if choice in ("TP", "FN") else NORMAL
        return self._highest_first((self.truth == truth) & (above == (choice[1] == "P")))

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

    def of_defect(self, defect: str) -> list[str]:
        """Return the ids of the images with a kind of defect, highest score first."""
        return self._highest_first(self._has_defect(defect))

    def _has_defect(self, defect: str) -> NDArray[np.bool_]:
        return np.array([name == defect for name in self.defects])

    def _highest_first(self, selected: NDArray[np.bool_]) -> list[str]:
        index = np.flatnonzero(selected)
        return [str(id) for id in self.ids[index[np.argsort(-self.scores[index], kind="stable")]]]
