"""All metrics of some images by name: here a new metric is computed, and ``names`` says what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..segments.regions import SIZES, RegionCounts
from .confusion import Confusion, confusion
from .curves import AUPRO_LIMITS, ScoreCounts, auroc, average_precision, count_scores, f1_max, partial_area
from .image_result import ImageResult
from .names import METRIC_NAMES
from .pixels import PixelCounts

Metrics = dict[str, float | int | None]
"""Figures by name; None where one does not exist because a class is absent."""


def image_metrics(scores: ArrayLike, flagged: ArrayLike, defective: ArrayLike) -> Metrics:
    """Compute the metrics of images: those of their scores, and those of what was flagged at one threshold.

    Args:
        scores: float array ``[n]``
        flagged: bool array ``[n]``
        defective: bool array ``[n]``

    Examples:
        >>> metrics = image_metrics([0.1, 0.6, 0.9], flagged=[False, True, True], defective=[False, False, True])
        >>> metrics["image_auroc"], metrics["precision"], metrics["n_normal"]
        (1.0, 0.5, 2)
    """
    counts, outcomes = count_scores(scores, defective), confusion(flagged, defective)
    return {
        "image_auroc": auroc(counts),
        "image_ap": _if_both_classes(counts, average_precision),
        "image_f1max": _if_both_classes(counts, _highest_f1),
        "precision": outcomes.precision,
        "recall": outcomes.recall,
        "fpr": outcomes.fpr,
        "image_f1": outcomes.f1,
        "n_normal": outcomes.fp + outcomes.tn,
        "n_anomalous": outcomes.tp + outcomes.fn,
    }


def pixel_metrics(counts: PixelCounts) -> Metrics:
    """Compute the metrics of pixels and of the overlap of regions over all thresholds."""
    pixels, by_region = counts.pixels(), counts.by_region()
    wide, strict = AUPRO_LIMITS
    return {
        "pixel_auroc": auroc(pixels),
        "pixel_ap": _if_both_classes(pixels, average_precision),
        "pixel_f1max": _if_both_classes(pixels, _highest_f1),
        "aupro_30": partial_area(by_region, wide),
        "aupro_05": partial_area(by_region, strict),
    }


def all_metrics(images: Sequence[ImageResult], counts: PixelCounts) -> Metrics:
    """Compute all of ``METRIC_NAMES``.

    Args:
        images: what was measured of each image
        counts: the pixels of the same images
    """
    masks = sum((image.pixels for image in images), Confusion())
    regions = sum((count for image in images for count in image.regions.values()), RegionCounts())
    pimo = [image.aupimo for image in images if image.aupimo is not None]
    metrics = {
        **image_metrics(
            [image.score for image in images],
            [image.flagged for image in images],
            [image.defective for image in images],
        ),
        **pixel_metrics(counts),
        "aupimo": float(np.mean(pimo)) if pimo else None,
        "pixel_f1": masks.f1,
        "region_precision": regions.precision,
        "region_recall": regions.recall,
        "region_f1": regions.f1,
    }
    return {name: metrics[name] for name in METRIC_NAMES}


def region_rows(images: Iterable[ImageResult]) -> list[dict[str, Any]]:
    """Count regions by size and outcome: a row for each of ``SIZES`` and for ``all``."""
    by_size = dict.fromkeys(SIZES, RegionCounts())
    for image in images:
        for size, counts in image.regions.items():
            by_size[size] += counts
    by_size["all"] = sum(by_size.values(), RegionCounts())
    return [
        {"size": size, **vars(counts), "precision": counts.precision, "recall": counts.recall, "f1": counts.f1}
        for size, counts in by_size.items()
    ]


def mean_metrics(rows: Sequence[Mapping[str, Any]]) -> Metrics:
    """Average the metrics of categories that have them, as papers do; numbers of images are added up."""
    means: Metrics = {}
    for name in METRIC_NAMES:
        values = [value for row in rows if (value := row[name]) is not None]
        if not values:
            means[name] = None
        elif name.startswith("n_"):
            means[name] = sum(values)
        else:
            means[name] = float(np.mean(values))
    return means


def _highest_f1(counts: ScoreCounts) -> float | None:
    best = f1_max(counts)
    return best[0] if best else None


def _if_both_classes(counts: ScoreCounts, metric: Callable[[ScoreCounts], float | None]) -> float | None:
    """Compute a metric that says nothing where all is defective: there it would be 1, however bad the scores."""
    return metric(counts) if counts.both_classes else None
