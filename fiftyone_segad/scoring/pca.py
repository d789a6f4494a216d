"""Principal components: features made comparable by Euclidean distance, and short."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Projection:
    """Maps features ``[n, d]`` to components ``[n, k]``.

    Attributes:
        mean: float32 array ``[d]``
        matrix: float32 array ``[d, k]``
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((features - self.mean) @ self.matrix, np.float32)


def fit_projection(features: NDArray[np.floating], components: int, whiten: bool) -> Projection:
    """Fits principal components to standardised features.

    Args:
        features: array ``[n, d]``
        components: components to keep; at most as many as there are features
        whiten: whether to scale the components to one variance

    Raises:
        ValueError: if a feature is not finite, or there are none
    """
    rows = np.asarray(features, np.float64)
    if not len(rows) or not np.isfinite(rows).all():
        raise ValueError("Components need features, all of them finite")
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    spread[spread < 1e-6 * max(spread.max(), 1e-12)] = np.inf  # what does not vary says nothing
    standard = (rows - mean) / spread
    variances, vectors = np.linalg.eigh(standard.T @ standard / len(rows))
    order = np.argsort(-variances, kind="stable")[:components]
    vectors = vectors[:, order]
    # The sign of a component is arbitrary, but must be the same on every machine
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    if whiten:
        vectors = vectors / np.sqrt(np.maximum(variances[order], 1e-6))
    # Products of matrices differ in the last bit by the order in memory, which not every file keeps
    return Projection(mean.astype(np.float32), np.ascontiguousarray(vectors / spread[:, None], np.float32))
