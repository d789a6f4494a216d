"""Principal components: features made comparable by Euclidean distance, and short."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Projection:
    """Maps features ``[n, d]`` to components ``[n, k]``: ``(x - mean) @ matrix``.

    Attributes:
        mean: float32 array ``[d]``
        matrix: float32 array ``[d, k]``
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((features - self.mean) @ self.matrix, np.float32)


def fit_projection(features: NDArray[np.floating], components: int, whiten: bool) -> Projection:
    """Fit principal components to standardised features.

    With ``Z`` the features ``[n, d]`` at mean 0 and variance 1, and ``V diag(λ) V^T`` the eigendecomposition of their
    correlations ``Z^T Z / n``, the components are ``Z V``, or ``Z V diag(λ)^-1/2`` if they are whitened: then a
    distance counts each direction alike, however much the features vary along it.

    Args:
        features: array ``[n, d]``
        components: components ``k`` to keep, those of the largest variance; at most ``d``
        whiten: whether to scale the components to variance 1

    Raises:
        ValueError: if a feature is not finite, or there are none

    Examples:
        >>> features = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])  # both columns vary together
        >>> projection = fit_projection(features, 1, whiten=True)
        >>> projection(features.astype(np.float32)).var(axis=0).round(3).tolist()
        [1.0]
    """
    rows = np.asarray(features, np.float64)
    if not len(rows) or not np.isfinite(rows).all():
        raise ValueError("Components need features, all of them finite")
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)  # [d]
    deviation[deviation < 1e-6 * max(deviation.max(), 1e-12)] = np.inf  # a constant feature says nothing: Z is 0
    standard = (rows - mean) / deviation  # Z: [n, d]
    variances, vectors = np.linalg.eigh(standard.T @ standard / len(rows))  # λ: [d], V: [d, d]
    order = np.argsort(-variances, kind="stable")[:components]
    vectors = vectors[:, order]  # [d, k]
    # The sign of a component is arbitrary, but must be the same on every machine: its largest entry is positive
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    if whiten:
        vectors = vectors / np.sqrt(np.maximum(variances[order], 1e-6))
    # Products of matrices differ in the last bit by the order in memory, which not every file keeps
    return Projection(mean.astype(np.float32), np.ascontiguousarray(vectors / deviation[:, None], np.float32))
