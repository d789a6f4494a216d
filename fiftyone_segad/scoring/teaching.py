"""Learn from marked defects what else looks like them, and let it raise scores.

A logistic regression tells the segments of marked defects from those of normal images, by the components of all levels
at once. It is linear, so that its value at a segment is a sum over the levels, each on its own grid, and costs little.
A few marked images say little: their weight in a score grows with their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from ..segments.boxes import Segments
from ..segments.maps import onto_finest
from ..utils.threads import one_blas_thread

MOST_WEIGHT = 0.45
"""Weight of likeness beside a score that it comes to with ever more marked images."""

HALF_WEIGHT = 9
"""Marked images at which it has half of that."""

PEAK_SHARE = 0.005
"""Share of the segments of an image, those most like defects, whose mean is its peak."""

DEFECT_NUMBERS = 5
"""Numbers of a model beside its weights, in the order in which it is stored."""

_SHRINKAGE = 0.05
"""Share of the mean variance in the covariance of normal segments, by which components are whitened."""

_RIDGE = 1e-3
"""Weight of the squared coefficients beside the mean loss."""

_STEPS, _TOLERANCE = 40, 1e-8
"""Steps of Newton's method at most, and the decrease of the loss below which it ends."""

_SCALE_QUANTILE = 0.9
"""Quantile of the peaks of normal images that likeness is scaled by: a model of few defects has high peaks at some."""


def weight_of(images: int) -> float:
    """Return the weight of likeness beside a score, by the number of images with marked defects.

    Examples:
        >>> [round(weight_of(images), 3) for images in (0, 3, 9, 20)]
        [0.0, 0.113, 0.225, 0.31]
    """
    return MOST_WEIGHT * images / (images + HALF_WEIGHT)


@dataclass(frozen=True)
class DefectModel:
    """Tells how like marked defects segments are, and adds that to their scores.

    Attributes:
        weights: float32 arrays ``[k]``, one entry per level
        bias: what is added to their products with components
        centre: mean likeness of a usual normal image
        scale: peak of a normal image with a high one, above ``centre``
        score_scale: peak of the scores of a usual normal image, above their mean
        weight: weight of likeness beside a score
    """

    weights: list[NDArray[np.float32]]
    bias: float
    centre: float = 0.0
    scale: float = 1.0
    score_scale: float = 1.0
    weight: float = 0.0

    def scaled(self, centre: float, scale: float, score_scale: float, weight: float) -> DefectModel:
        """Return the model with these numbers."""
        return DefectModel(self.weights, self.bias, centre, scale, score_scale, weight)

    def likeness(self, rows: Sequence[NDArray[np.float32]], segments: Sequence[Segments]) -> NDArray[np.float32]:
        """Compute how like marked defects the finest segments are: the logarithm of the odds, up to a constant.

        Args:
            rows: comparable features ``[n, k]`` of an image, one entry per level
            segments: its segments ``[n]``, one entry per level

        Returns:
            float32 array ``[n]``
        """
        # einsum without BLAS: the same bits whatever the number of threads
        products = [
            (cut, np.einsum("nk,k->n", level_rows, weights))
            for level_rows, cut, weights in zip(rows, segments, self.weights, strict=True)
        ]
        _, values = onto_finest(products)
        return (np.sum(values, axis=0) + self.bias).astype(np.float32)

    def standard(self, rows: Sequence[NDArray[np.float32]], segments: Sequence[Segments]) -> NDArray[np.float32]:
        """Return the likeness ``[n]`` on a scale on which 0 is usual in a normal image, and 1 is a high peak of one."""
        return (self.likeness(rows, segments) - self.centre) / self.scale

    def taught(self, rows: Sequence[NDArray[np.float32]], segments: Sequence[Segments]) -> NDArray[np.float32]:
        """Return what likeness adds to the scores ``[n]`` of the finest segments; below 0 where there is little."""
        return (self.weight * self.score_scale * self.standard(rows, segments)).astype(np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all of it, to be stored."""
        numbers = [self.bias, self.centre, self.scale, self.score_scale, self.weight]
        return {"defects": np.array(numbers), **{f"defects{i}": weights for i, weights in enumerate(self.weights)}}

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]], levels: int) -> DefectModel | None:
        """Make the model from what ``arrays`` gave; None if there was none."""
        if "defects" not in arrays:
            return None
        return cls([arrays[f"defects{i}"] for i in range(levels)], *map(float, arrays["defects"]))


def fit_defects(
    defects: Sequence[NDArray[np.floating]],
    normal: NDArray[np.floating],
    widths: Sequence[int],
    start: DefectModel | None = None,
) -> DefectModel:
    """Fit a model that is not scaled yet.

    With whitened rows ``x``, it minimises ``mean_i log(1 + exp(-y_i (w.x_i + b))) + ridge |w|^2 / 2``, the mean over
    defects and that over normal rows counted alike, and each marked image as much as any other. The minimum is unique,
    and found by Newton's method: no seed, and the same in each run.

    Args:
        defects: rows ``[n_i, d]`` of each marked image, the components of all levels beside each other
        normal: rows ``[m, d]`` of normal images, those to be told from
        widths: components of each level, which add up to ``d``
        start (None): a model of nearly the same rows, from which it takes fewer steps

    Examples:
        >>> random = np.random.default_rng(0)
        >>> normal, defect = random.normal(size=(200, 3)), random.normal(size=(20, 3)) + [4, 0, 0]
        >>> model = fit_defects([defect], normal, [2, 1])
        >>> [len(weights) for weights in model.weights], bool(model.weights[0][0] > 0.5)
        ([2, 1], True)
    """
    normal = np.asarray(normal, np.float64)
    mean = normal.mean(axis=0)  # [d]
    with one_blas_thread():  # the same bits whatever the number of threads
        whitening = _whitening(normal - mean)  # [d, d]
        rows = (np.concatenate([*defects, normal]) - mean) @ whitening  # [n + m, d]
        counts = [len(image) for image in defects]
        shares = [0.5 / len(defects) / count for count in counts] + [0.5 / len(normal)]
        signs = np.repeat([1.0, -1.0], [sum(counts), len(normal)])  # y: [n + m]
        initial = np.zeros(len(mean) + 1)  # w and b
        if start is not None:
            given = np.concatenate(start.weights).astype(np.float64)  # [d]
            initial = np.append(linalg.solve(whitening, given), start.bias + mean @ given)
        coefficients = _minimise(rows, signs, np.repeat(shares, [*counts, len(normal)]), initial)  # [d + 1]
        weights = whitening @ coefficients[:-1]  # [d]
    bias = float(coefficients[-1] - mean @ weights)
    return DefectModel(np.split(weights.astype(np.float32), np.cumsum(widths)[:-1]), bias)


def peak(values: NDArray[np.floating]) -> float:
    """Return the mean of the highest values of an image, a share ``PEAK_SHARE``.

    >>> peak(np.arange(400.0))
    398.5
    """
    count = max(1, round(PEAK_SHARE * len(values)))
    return float(np.partition(values, -count)[-count:].mean(dtype=np.float64))


def scaling(
    likeness: Sequence[tuple[float, float]], scores: Sequence[tuple[float, float]]
) -> tuple[float, float, float]:
    """Find the centre and the scales of a model from normal images that it was not fitted to.

    Args:
        likeness: mean and ``peak`` of the likeness of each image
        scores: mean and ``peak`` of its scores

    Returns:
        ``centre``, ``scale`` and ``score_scale`` of the model
    """
    likeness_means, likeness_peaks = np.array(likeness, np.float64).T
    score_means, score_peaks = np.array(scores, np.float64).T
    centre = float(np.median(likeness_means))
    scale = float(np.quantile(likeness_peaks, _SCALE_QUANTILE)) - centre
    score_scale = float(np.median(score_peaks) - np.median(score_means))
    return centre, max(scale, 1e-6), max(score_scale, 1e-6)


def _whitening(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix ``A`` for which the rows ``[m, d]`` times ``A`` have about the covariance 1."""
    covariance = centred.T @ centred / len(centred)  # [d, d]
    variance = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * variance * np.eye(len(covariance))
    # With S = L L^T and A = L^-T the covariance of x A is A^T S A = 1
    inverse = linalg.solve_triangular(linalg.cholesky(shrunk, lower=True), np.eye(len(shrunk)), lower=True)
    return np.ascontiguousarray(inverse.T)


def _minimise(
    rows: NDArray[np.float64], signs: NDArray[np.float64], shares: NDArray[np.float64], w: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Find the coefficients ``[d + 1]``, bias last, of the least loss of rows ``[n, d]``, signs and shares ``[n]``."""
    from scipy.special import expit  # here, so that the package imports in no time

    design = np.hstack([rows, np.ones((len(rows), 1))])  # [n, d + 1]
    single = design.astype(np.float32)  # for the curvature, which need not be exact
    ridge = np.append(np.full(rows.shape[1], _RIDGE), 0.0)

    def loss(w: NDArray[np.float64]) -> float:
        return float(shares @ np.logaddexp(0, -signs * (design @ w)) + ridge @ w**2 / 2)

    current = loss(w)
    for _ in range(_STEPS):
        wrong = expit(-signs * (design @ w))  # [n], probability of the other class
        gradient = ridge * w - design.T @ (shares * signs * wrong)
        curvature = np.sqrt(shares * wrong * (1 - wrong)).astype(np.float32)[:, None] * single  # [n, d + 1]
        hessian = (curvature.T @ curvature).astype(np.float64) + np.diag(ridge + 1e-6)
        step = linalg.solve(hessian, gradient, assume_a="pos")
        length = 1.0
        while (following := loss(w - length * step)) > current - 1e-4 * length * (gradient @ step) and length > 1e-6:
            length /= 2
        w = w - length * step
        if current - following < _TOLERANCE:
            break
        current = following
    return w
