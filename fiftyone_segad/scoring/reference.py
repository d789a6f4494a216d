"""Reference method: each segment against a bank of segments of normal images.

The score is the distance to the nearest normal segment, as in SPADE (Cohen and Hoshen, 2020) and
PatchCore (Roth et al., 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .neighbors import most_similar, normalize


@dataclass(frozen=True)
class Bank:
    """Normalised features of the segments of normal images.

    Attributes:
        features: float32 array ``[m, d]``, rows of length 1, image after image
        offsets: int array ``[images + 1]``; image ``i`` owns the rows ``offsets[i]`` to ``offsets[i + 1]``
    """

    features: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @property
    def images(self) -> int:
        return len(self.offsets) - 1

    def rows(self, image: int) -> slice:
        """The rows that an image owns."""
        return slice(int(self.offsets[image]), int(self.offsets[image + 1]))


def build_bank(features: list[NDArray[np.float32]]) -> Bank:
    """Stacks the features ``[n_i, d]`` of normal images.

    Raises:
        ValueError: if there is no image, or a feature is not finite
    """
    if not features:
        raise ValueError("A bank needs at least one normal image")
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in features])])
    return Bank(np.concatenate([normalize(rows) for rows in features]), offsets)


def score_segments(features: NDArray[np.floating], bank: Bank) -> NDArray[np.float32]:
    """Anomaly score ``[n]`` of each segment: Euclidean distance to its nearest row of the bank, in [0, 2]."""
    similarities, _ = most_similar(normalize(features), bank.features)
    return _distance(similarities)


def score_own(bank: Bank, image: int) -> NDArray[np.float32]:
    """Scores an image of the bank against the other images (leave-one-out).

    Raises:
        ValueError: if the bank holds no other image
    """
    if bank.images < 2:
        raise ValueError("Leaving one image out needs a bank of at least two")
    own = bank.rows(image)
    queries = bank.features[own]
    before, _ = most_similar(queries, bank.features[: own.start])
    after, _ = most_similar(queries, bank.features[own.stop :])
    return _distance(np.maximum(before, after))


def _distance(similarities: NDArray[np.float32]) -> NDArray[np.float32]:
    # |a - b|^2 = 2 - 2 a.b for rows of length 1
    return np.sqrt(np.maximum(2 - 2 * similarities, 0))
