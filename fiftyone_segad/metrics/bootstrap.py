"""Bootstrap: how far figures may be off because the images are few.

Images are drawn with replacement, as many good and as many defective ones as there are (Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993; percentile intervals). What else may differ elsewhere, such as light or another
batch of parts, no interval tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .image_result import ImageResult

INTERVAL_NAMES = ("image_auroc", "image_ap", "pixel_auroc", "aupro_30", "aupro_05")
"""Metrics that have bootstrap intervals."""

DRAWS = 1000
LEVEL = 0.95

_BLOCK = 100


def draw_figures(images: Sequence[ImageResult], draws: int = DRAWS, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """The metrics of images that were drawn at random.

    Args:
        images: what was measured of each image
        draws: number of draws, 1 or more
        seed: seed of the draws

    Returns:
        float64 arrays ``[draws]`` in [0, 1] by ``INTERVAL_NAMES``; empty if a class is absent

    Raises:
        ValueError: if ``draws`` is no such number
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws={draws!r} must be a whole number from 1 on")
    defective = np.array([image.defective for image in images], bool)
    if defective.all() or not defective.any():
        return {}
    scores = np.array([image.score for image in images])
    normal = np.stack([image.normal for image in images])
    nothing = np.zeros_like(images[0].normal)
    positive = np.stack([nothing if image.positive is None else image.positive for image in images])
    overlap = np.stack([nothing if image.overlap is None else image.overlap for image in images])
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in INTERVAL_NAMES}
    for weights in draw_weights(defective, draws, seed):
        parts["image_auroc"].append(weighted_auroc(scores, defective, weights))
        parts["image_ap"].append(weighted_average_precision(scores, defective, weights))
        parts["pixel_auroc"].append(weighted_partial_areas(normal, positive, weights, 1))
        parts["aupro_30"].append(weighted_partial_areas(normal, overlap, weights, 0.3))
        parts["aupro_05"].append(weighted_partial_areas(normal, overlap, weights, 0.05))
    return {name: np.concatenate(values) for name, values in parts.items()}


def draw_weights(defective: NDArray[np.bool_], draws: int = DRAWS, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """Yield how often each image was drawn, in blocks ``[b, n]`` that add up to ``draws`` rows.

    Args:
        defective: bool array ``[n]``
        draws: number of draws
        seed: seed of the draws
    """
    random = np.random.default_rng(seed)
    for start in range(0, draws, _BLOCK):
        block = min(_BLOCK, draws - start)
        weights = np.zeros((block, len(defective)))
        for group in (np.flatnonzero(defective), np.flatnonzero(~defective)):
            if len(group):
                weights[:, group] = random.multinomial(len(group), np.full(len(group), 1 / len(group)), size=block)
        yield weights


def interval(values: ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """The interval between the percentiles that leave out ``(1 - level) / 2`` of the draws on either side."""
    low, high = np.quantile(np.asarray(values, np.float64), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def weighted_auroc(
    scores: NDArray[np.float64], defective: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """AUROC of images for each row of weights ``[b, n]``, ties counted half."""
    normal, positive = _cumulative(scores, defective, weights)
    return _areas(normal / normal[:, -1:], positive / positive[:, -1:])


def weighted_average_precision(
    scores: NDArray[np.float64], defective: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average precision of images for each row of weights ``[b, n]``."""
    normal, positive = _cumulative(scores, defective, weights)
    flagged = normal + positive
    precision = np.divide(positive, flagged, out=np.zeros_like(positive), where=flagged > 0)
    gained = np.diff(positive, axis=1, prepend=0) / positive[:, -1:]
    return (gained * precision).sum(axis=1)


def weighted_partial_areas(
    normal: NDArray[np.floating], defective: NDArray[np.floating], weights: NDArray[np.float64], limit: float
) -> NDArray[np.float64]:
    """Area under the true- over the false-positive rate up to a limit, for each row of weights.

    Args:
        normal: histograms ``[n, k]`` of the images, lowest score first
        defective: the same of what is defective: pixels, or regions of equal weight
        weights: array ``[b, n]``
        limit: highest false-positive rate, in (0, 1]; the area is divided by it
    """
    rates = []
    for counts in (normal, defective):
        cumulative = np.cumsum((weights.astype(np.float32) @ counts)[:, ::-1], axis=1, dtype=np.float64)
        rates.append(np.hstack([np.zeros((len(weights), 1)), cumulative / cumulative[:, -1:]]))
    fpr, tpr = rates
    # Each interval between two rates, cut off at the limit
    left, right = fpr[:, :-1], fpr[:, 1:]
    width = np.clip(np.minimum(right, limit) - left, 0, None)
    slope = np.divide(np.diff(tpr, axis=1), right - left, out=np.zeros_like(left), where=right > left)
    return (width * (tpr[:, :-1] + slope * width / 2)).sum(axis=1) / limit


def _cumulative(
    scores: NDArray[np.float64], defective: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight of the normal and of the defective images at or above each distinct score, highest first."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    sorted_weights, truth = weights[:, order], defective[order]
    normal = np.cumsum(sorted_weights * ~truth, axis=1)[:, last]
    positive = np.cumsum(sorted_weights * truth, axis=1)[:, last]
    return normal, positive


def _areas(fpr: NDArray[np.float64], tpr: NDArray[np.float64]) -> NDArray[np.float64]:
    zeros = np.zeros((len(fpr), 1))
    return np.trapezoid(np.hstack([zeros, tpr]), np.hstack([zeros, fpr]), axis=1)
