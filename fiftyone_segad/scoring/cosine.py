"""Features made comparable by cosine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def normalize(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scales each row of ``[n, d]`` to length 1. A zero row stays zero.

    Raises:
        ValueError: if a value is not finite
    """
    with np.errstate(over="ignore"):
        rows = np.asarray(features, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise ValueError("The features hold NaN or infinite values; the embedder failed on this image")
    # Squares of large and small features leave the range of single precision
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)
