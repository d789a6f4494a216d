"""Bootstrap: how far figures may be off because the images are few.

B samples of n images are drawn with replacement, as many good and as many defective ones as there are, and a figure is
computed from each; the interval lies between percentiles of the B replications (Efron and Tibshirani, "An Introduction
to the Bootstrap", 1993, chapters 6 and 13). What else may differ elsewhere, such as light or another batch of parts, no
interval tells.

A drawn sample is a row of weights: how often each of the n images was drawn. A replication is then the figure with
weighted images, which takes no copies of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .curves import AUPRO_LIMITS
from .image_result import ImageResult

INTERVAL_NAMES = ("image_auroc", "image_ap", "pixel_auroc", "aupro_30", "aupro_05")
"""Metrics that have bootstrap intervals."""

DRAWS = 1000
"""B, the number of samples that are drawn."""

CONFIDENCE = 0.95
"""Share of the replications within an interval: 1 - 2 alpha."""

_BLOCK = 100
"""Samples whose figures are computed together, which bounds the memory."""


def draw_figures(images: Sequence[ImageResult], draws: int = DRAWS, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Compute the metrics of images that were drawn at random.

    Args:
        images: what was measured of each image, ``[n]``
        draws: number of draws B, 1 or more
        seed: seed of the draws

    Returns:
        float64 arrays ``[draws]`` in [0, 1] by ``INTERVAL_NAMES``; empty if a class is absent, and without the figures
        of pixels if no pixels were measured

    Raises:
        ValueError: if ``draws`` is no such number
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws={draws!r} must be a whole number from 1 on")
    defective = np.array([image.defective for image in images], bool)
    if defective.all() or not defective.any():
        return {}
    scores = np.array([image.score for image in images])
    nothing = np.zeros_like(images[0].normal)
    normal = np.stack([image.normal for image in images])  # histograms of m coarse bins, [n, m]
    positive = np.stack([nothing if image.positive is None else image.positive for image in images])  # [n, m]
    overlap = np.stack([nothing if image.overlap is None else image.overlap for image in images])  # [n, m]
    wide, strict = AUPRO_LIMITS
    replications: dict[str, list[NDArray[np.float64]]] = {name: [] for name in INTERVAL_NAMES}
    for weights in draw_weights(defective, draws, seed):
        replications["image_auroc"].append(weighted_auroc(scores, defective, weights))
        replications["image_ap"].append(weighted_average_precision(scores, defective, weights))
        if not positive.any():
            continue
        replications["pixel_auroc"].append(weighted_partial_areas(normal, positive, weights, 1))
        replications["aupro_30"].append(weighted_partial_areas(normal, overlap, weights, wide))
        replications["aupro_05"].append(weighted_partial_areas(normal, overlap, weights, strict))
    return {name: np.concatenate(blocks) for name, blocks in replications.items() if blocks}


def draw_weights(defective: NDArray[np.bool_], draws: int = DRAWS, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """Yield how often each image was drawn, in blocks ``[b, n]`` that add up to ``draws`` rows.

    Args:
        defective: bool array ``[n]``
        draws: number of draws
        seed: seed of the draws

    Examples:
        >>> (weights,) = draw_weights(np.array([True, True, True, False, False]), draws=4)
        >>> weights.shape, weights[:, :3].sum(axis=1), weights[:, 3:].sum(axis=1)
        ((4, 5), array([3., 3., 3., 3.]), array([2., 2., 2., 2.]))
    """
    random = np.random.default_rng(seed)
    for start in range(0, draws, _BLOCK):
        block = min(_BLOCK, draws - start)
        weights = np.zeros((block, len(defective)))
        for group in (np.flatnonzero(defective), np.flatnonzero(~defective)):
            if len(group):
                weights[:, group] = random.multinomial(len(group), np.full(len(group), 1 / len(group)), size=block)
        yield weights


def interval(values: ArrayLike, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the percentiles between which the share ``confidence`` of the values lie, as many below as above.

    Examples:
        >>> interval(range(101), confidence=0.5)
        (25.0, 75.0)
    """
    low, high = np.quantile(np.asarray(values, np.float64), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def weighted_auroc(
    scores: NDArray[np.float64], defective: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the AUROC of images for each row of weights ``[b, n]``, ties counted half: ``[b]``.

    Examples:
        >>> scores, defective = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
        >>> weighted_auroc(scores, defective, np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 1.0, 1.0]]))
        array([0.75, 1.  ])
    """
    normal, positive = _weights_from_the_top(scores, defective, weights)
    fpr, tpr = normal / normal[:, -1:], positive / positive[:, -1:]  # [b, k]
    zeros = np.zeros((len(weights), 1))
    return np.trapezoid(np.hstack([zeros, tpr]), np.hstack([zeros, fpr]), axis=1)


def weighted_average_precision(
    scores: NDArray[np.float64], defective: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the average precision of images for each row of weights ``[b, n]``: ``[b]``.

    Examples:
        >>> scores, defective = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
        >>> weights = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 1.0, 1.0]])
        >>> weighted_average_precision(scores, defective, weights).round(2)
        array([0.83, 1.  ])
    """
    normal, positive = _weights_from_the_top(scores, defective, weights)
    flagged = normal + positive  # [b, k]
    precision = np.divide(positive, flagged, out=np.zeros_like(positive), where=flagged > 0)
    recall_gained = np.diff(positive, axis=1, prepend=0) / positive[:, -1:]
    return (recall_gained * precision).sum(axis=1)


def weighted_partial_areas(
    normal: NDArray[np.floating], defective: NDArray[np.floating], weights: NDArray[np.float64], limit: float
) -> NDArray[np.float64]:
    """Compute the area under the true- over the false-positive rate up to a limit, for each row of weights.

    Args:
        normal: histograms ``[n, m]`` of the images, lowest score first
        defective: the same of what is defective: pixels, or regions of equal weight
        weights: array ``[b, n]``
        limit: highest false-positive rate, in (0, 1]; the area is divided by it

    Returns:
        float64 array ``[b]``

    Examples:
        >>> normal, defective = np.array([[3.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [2.0, 2.0]])
        >>> weighted_partial_areas(normal, defective, np.ones((1, 2)), limit=1.0)
        array([0.625])
    """
    rates = []
    for histograms in (normal, defective):
        drawn = weights.astype(np.float32) @ histograms  # [b, m]
        cumulative = np.cumsum(drawn[:, ::-1], axis=1, dtype=np.float64)  # from the highest score down
        rates.append(np.hstack([np.zeros((len(weights), 1)), cumulative / cumulative[:, -1:]]))
    fpr, tpr = rates  # [b, m + 1]
    # The trapezoid between two neighbouring rates, cut off at the limit: its width there, and its mean height
    left, right = fpr[:, :-1], fpr[:, 1:]
    width = np.clip(np.minimum(right, limit) - left, 0, None)
    slope = np.divide(np.diff(tpr, axis=1), right - left, out=np.zeros_like(left), where=right > left)
    return (width * (tpr[:, :-1] + slope * width / 2)).sum(axis=1) / limit


def _weights_from_the_top(
    scores: NDArray[np.float64], defective: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the weights of the normal and of the defective images at or above each of k distinct scores: ``[b, k]``."""
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    last_of_ties = np.append(descending[1:] != descending[:-1], True)  # [n], k of them True
    sorted_weights, truth = weights[:, order], defective[order]
    normal = np.cumsum(sorted_weights * ~truth, axis=1)[:, last_of_ties]
    positive = np.cumsum(sorted_weights * truth, axis=1)[:, last_of_ties]
    return normal, positive
