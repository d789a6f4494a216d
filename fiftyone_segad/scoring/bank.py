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
"""Lists of an inverted file that a query visits. Of the stride-8 features of 100 screws about 78 % of the nearest rows
are found so; the others' places are taken by rows nearly as near, and distances are 1 % too large on average."""

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
        self._rows: NDArray[np.float32] | None = None
        self._index: Any = None
        if self.size <= EXACT_ROWS:
            self._rows = np.concatenate(images)
            return
        width = images[0].shape[1]
        self._lists = int(1.6 * np.sqrt(self.size))
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, self._lists)
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
        own = slice(0, 0)
        if excluded is not None:
            own = slice(int(self.offsets[excluded]), int(self.offsets[excluded + 1]))
            if own.stop - own.start == self.size:
                raise ValueError("Leaving one image out needs a bank of at least two")
        squares = self._search_all(rows, own) if self._rows is not None else self._search_lists(rows, own)
        return np.sqrt(np.maximum(squares, 0))

    def _search_all(self, queries: NDArray[np.float32], own: slice) -> NDArray[np.float32]:
        assert self._rows is not None
        best = np.full(len(queries), np.inf, np.float32)
        for part in (self._rows[: own.start], self._rows[own.stop :]):
            if len(part):
                best = np.minimum(best, self._faiss.knn(queries, part, 1)[0][:, 0])
        return best

    def _search_lists(self, queries: NDArray[np.float32], own: slice) -> NDArray[np.float32]:
        faiss: Any = self._faiss  # its type stubs do not know the arguments of parameters
        others = faiss.IDSelectorNot(faiss.IDSelectorRange(own.start, own.stop)) if own.stop > own.start else None
        found, index = self._index.search(queries, 1, params=faiss.SearchParametersIVF(nprobe=PROBES, sel=others))
        squares: NDArray[np.float32] = found[:, 0]
        lost = index[:, 0] < 0  # all lists that were visited held rows of the excluded image only
        if lost.any():
            every = faiss.SearchParametersIVF(nprobe=self._lists, sel=others)
            squares[lost] = self._index.search(queries[lost], 1, params=every)[0][:, 0]
        return squares


def _sample(images: list[NDArray[np.float32]], size: int, seed: int) -> NDArray[np.float32]:
    share = size / sum(len(image) for image in images)
    random = np.random.default_rng(seed)
    return np.concatenate([image[random.random(len(image)) < share] for image in images])
