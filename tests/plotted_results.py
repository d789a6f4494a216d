"""Results of an evaluation from made-up scores, for plots and reports."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiftyone_segad.evaluation.results import AnomalyResults
from fiftyone_segad.metrics.confusion import Confusion
from fiftyone_segad.metrics.image_result import ImageResult
from fiftyone_segad.metrics.pixels import Bins, PixelCounts

BINS = Bins(0, 10, 4096)


def results_of(
    scores: Any, defective: Any, defects: Any = None, categories: Any = None, threshold: float = 5.0
) -> AnomalyResults:
    """Make results of images of 4 x 4 pixels: four of a defective one are at its score, all others at 1."""
    results = AnomalyResults("segad", threshold, "fpr:0.01", "defect_mask", BINS)
    for index in np.argsort(np.asarray(defective, bool), kind="stable"):  # normal ones first, as in an evaluation
        score, is_defective = float(scores[index]), bool(defective[index])
        anomaly = np.ones((4, 4), np.float32)
        anomaly[:2, :2] = score
        mask = np.zeros((4, 4), bool)
        mask[:2, :2] = is_defective
        kind = (defects[index] if defects else "blot") if is_defective else "good"
        category = categories[index] if categories else ""
        histogram = np.ones(2, np.float32)
        image = ImageResult(
            str(index),
            score,
            is_defective,
            kind,
            category,
            score > threshold,
            Confusion(),
            {},
            histogram,
            histogram,
            histogram,
        )
        results.add(image, PixelCounts.of(BINS, anomaly, mask if is_defective else None))
    return results


def random_results(count: int = 200, **kwargs: Any) -> tuple[AnomalyResults, NDArray[np.float64], NDArray[np.bool_]]:
    """Make results of images whose scores overlap; return their scores and truth, too."""
    random = np.random.default_rng(5)
    defective = random.random(count) < 0.4
    scores = np.round(random.normal(4 + 1.5 * defective, 1), 2).clip(0, 10)
    return results_of(scores, defective, **kwargs), scores, defective
