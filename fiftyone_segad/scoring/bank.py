"""The bank: features of normal images, and the search for the nearest of them.

The distance to the nearest normal feature as the anomaly score is that of SPADE (Cohen and Hoshen, 2020) and
PatchCore (Roth et al., 2022). The search is FAISS's (Douze et al., "The Faiss library", 2024).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT_ROWS = 30_000
"""Largest bank that is searched exhaustively; larger ones by an inverted file."""

PROBES = 4
"""Lists of an inverted file that a query visits. Of the stride-8 features of 100 screws 88 % of the nearest rows are
found so; the distances of the others are too large, by 0.4 % on average over all."""

_TRAINING_ROWS = 40
"""Rows a list from which the lists' centres are found."""


class Bank:
    """Rows of many images with their owners.

    Args:
        rows: float arrays ``[n_i, d]``, image after image
        seed: seed of the inverted file

    Raises:
        ValueError: if there is no row
    """

    def __init__(self, rows: Iterable[NDArray[np.floating]], seed: int = 0) -> None:
        import faiss  # here, so that the package imports in no time

        self._faiss = faiss
        images = [np.ascontiguousarray(each, np.float32) for each in rows]
        self.offsets = np.concatenate([[0], np.cumsum([len(each) for each in images], dtype=np.int64)])
        self.size = int(self.offsets[-1])
        if self.size == 0:
            raise ValueError("A bank needs at least one row")
        width = images[0].shape[1]
        self._index: Any = faiss.IndexFlatL2(width)
        self._lists = 0
        if self.size > EXACT_ROWS:
            self._lists = int(1.6 * np.sqrt(self.size))
            self._index = faiss.IndexIVFFlat(self._index, width, self._lists)
            self._index.cp.niter = 6
            self._index.cp.seed = seed + 1
            self._index.cp.max_points_per_centroid = _TRAINING_ROWS
            self._index.train(_sample(images, self._lists * _TRAINING_ROWS, seed))
        while images:  # the index keeps a copy; not all rows need be held twice
            self._index.add(images.pop(0))

    @property
    def images(self) -> int:
        return len(self.offsets) - 1

    def distances(self, queries: NDArray[np.floating], excluded: int | None = None) -> NDArray[np.float32]:
        """Euclidean distance of each query to its nearest row.

        Args:
            queries: array ``[n, d]``
            excluded: image whose rows are left out

        Raises:
            ValueError: if no other image is left
        """
        rows = np.ascontiguousarray(queries, np.float32)
        selector = None
        if excluded is not None:
            start, stop = int(self.offsets[excluded]), int(self.offsets[excluded + 1])
            if stop - start == self.size:
                raise ValueError("Leaving one image out needs a bank of at least two")
            selector = self._faiss.IDSelectorNot(self._faiss.IDSelectorRange(start, stop))
        squares, found = self._search(rows, PROBES, selector)
        lost = found < 0  # all lists that were visited held rows of the excluded image only
        if lost.any():
            squares[lost], _ = self._search(rows[lost], self._lists, selector)
        return np.sqrt(np.maximum(squares, 0))

    def _search(
        self, rows: NDArray[np.float32], probes: int, selector: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        faiss: Any = self._faiss  # its type stubs do not know these arguments
        if self._lists:
            parameters = faiss.SearchParametersIVF(nprobe=probes, sel=selector)
        else:
            parameters = faiss.SearchParameters(sel=selector)
        squares, found = self._index.search(rows, 1, params=parameters)
        return squares[:, 0], found[:, 0]


def _sample(images: list[NDArray[np.float32]], size: int, seed: int) -> NDArray[np.float32]:
    share = size / sum(len(image) for image in images)
    random = np.random.default_rng(seed)
    return np.concatenate([image[random.random(len(image)) < share] for image in images])
