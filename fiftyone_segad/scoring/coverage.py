"""Coverage: the few images whose segments come near to those of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 65_536
"""Rows whose distances to those of an image are computed at once."""


class Coverage:
    """Chooses images one by one, each time the one that is covered worst (greedy k-centre on images).

    An image is a set of segments; its distance from the chosen images is the mean distance of its segments from the
    nearest segments of these, added up over the levels, each divided by its mean distance from the first image. The
    mean keeps a single odd segment from deciding. Greedy k-centre: Gonzalez, "Clustering to minimize the maximum
    intercluster distance", 1985.

    Args:
        levels: for each level the rows of the images, float32 ``[n_i, d]`` with at least one row each
    """

    def __init__(self, levels: Sequence[Sequence[NDArray[np.float32]]]) -> None:
        self._ends = [np.cumsum([len(rows) for rows in images]) for images in levels]
        self._rows = [np.concatenate(list(images)) for images in levels]
        self._nearest = [np.full(len(rows), np.inf, np.float32) for rows in self._rows]

    @property
    def images(self) -> int:
        return len(self._ends[0])

    def choose(self, count: int) -> tuple[list[int], list[float]]:
        """Chooses images.

        Args:
            count: how many, at most as many as there are

        Returns:
            their indices in the order chosen, and with each the greatest distance of an image that is then left, 1
            being the mean of all from the first
        """
        chosen = [self._most_usual()]
        units: list[float] = []
        radii = []
        while True:
            means = self._add(chosen[-1])
            units = units or [max(float(level.mean()), 1e-12) for level in means]
            distances = np.mean([level / unit for level, unit in zip(means, units, strict=True)], axis=0)
            distances[chosen] = -1
            farthest = int(distances.argmax())
            radii.append(max(float(distances[farthest]), 0.0))
            if len(chosen) == count:
                return chosen, radii
            chosen.append(farthest)

    def _most_usual(self) -> int:
        """The image whose segments are nearest to the mean of all, in units of their deviation."""
        total = np.zeros(self.images)
        for rows, ends in zip(self._rows, self._ends, strict=True):
            squares = ((rows - rows.mean(axis=0)) ** 2).sum(axis=1)
            total += _means(squares, ends) / max(float(squares.mean()), 1e-12)
        return int(total.argmin())

    def _add(self, image: int) -> list[NDArray[np.float64]]:
        """Distances of the images ``[n]`` by level, once an image more is chosen."""
        means = []
        for rows, ends, nearest in zip(self._rows, self._ends, self._nearest, strict=True):
            own = rows[ends[image - 1] if image else 0 : ends[image]]
            lengths = (own**2).sum(axis=1)
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                part = rows[start : start + _ROWS_AT_ONCE]
                squares = (lengths - 2 * part @ own.T).min(axis=1) + (part**2).sum(axis=1)
                near = nearest[start : start + _ROWS_AT_ONCE]
                np.minimum(near, np.sqrt(np.maximum(squares, 0)), out=near)
            means.append(_means(nearest, ends))
        return means


def _means(values: NDArray[np.floating], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means over the segments of each image."""
    starts = np.concatenate([[0], ends[:-1]])
    return np.add.reduceat(values.astype(np.float64), starts) / (ends - starts)
