"""The bank: features of normal images, and the search for the nearest of them.

The distance to the nearest normal feature as the anomaly score is that of SPADE (Cohen and Hoshen, 2020) and
PatchCore (Roth et al., 2022). The search is FAISS's (Douze et al., "The Faiss library", 2024).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT_ROWS = 8192
"""Largest bank that is searched exhaustively for the nearest row; larger ones by an inverted file."""

EXACT_IMAGE_ROWS = 30_000
"""Largest bank that is searched exhaustively for the nearest images."""

PROBES = 4
"""Lists of an inverted file that a search for the nearest row visits at least. ``benchmarks/search.py`` tells what it
misses: rows nearly as near take the places of the nearest ones."""

MOST_PROBES = 8
"""Lists that it visits at most, in banks of 65,536 rows or less."""

_PROBED_ROWS = 2**19
"""Rows of a bank times lists visited, between these two numbers."""

IMAGE_PROBES = 6
"""Lists that a search for the nearest images visits."""

_ROWS_AN_IMAGE = 16
"""Nearest rows that are looked at for each of the nearest images that are asked for: several are of one image."""

_TRAINING_ROWS = 40
"""Rows a list from which the lists' centres are found."""


class NeighborIndex:
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
        if self.size <= EXACT_IMAGE_ROWS:
            self._rows = np.concatenate(images)
        if self.size <= EXACT_ROWS:
            return
        width = images[0].shape[1]
        self._lists = int(1.6 * np.sqrt(self.size))
        self._probes = min(max(_PROBED_ROWS // self.size, PROBES), MOST_PROBES)
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
        own = self._rows_of(excluded)
        squares = self._search_all(rows, own) if self._index is None else self._search_lists(rows, own)
        return np.sqrt(np.maximum(squares, 0))

    def image_distances(
        self, queries: NDArray[np.floating], count: int, excluded: int | None = None
    ) -> NDArray[np.float32]:
        """Euclidean distance of each query to the nearest row of each of the images that have the nearest ones.

        In a bank of more than ``EXACT_IMAGE_ROWS`` rows only the nearest ``16 count`` rows are looked at; if they
        are of fewer images, the farthest of them stands for those that are missing.

        Args:
            queries: array ``[n, d]``
            count: number of images
            excluded: image that is left out

        Returns:
            float32 array ``[n, count]``, nearest first

        Raises:
            ValueError: if fewer images are left
        """
        rows = np.ascontiguousarray(queries, np.float32)
        own = self._rows_of(excluded)
        if count > self.images - (excluded is not None):
            raise ValueError(f"{count} images were asked for, the bank has {self.images}")
        if self._rows is not None:
            squares = self._search_images(rows, count, excluded)
        else:
            squares = self._search_images_by_rows(rows, count, own)
        return np.sqrt(np.maximum(squares, 0))

    def _rows_of(self, excluded: int | None) -> slice:
        if excluded is None:
            return slice(0, 0)
        own = slice(int(self.offsets[excluded]), int(self.offsets[excluded + 1]))
        if own.stop - own.start == self.size:
            raise ValueError("Leaving one image out needs a bank of at least two")
        return own

    def _search_all(self, queries: NDArray[np.float32], own: slice) -> NDArray[np.float32]:
        assert self._rows is not None
        best = np.full(len(queries), np.inf, np.float32)
        for part in (self._rows[: own.start], self._rows[own.stop :]):
            if len(part):
                best = np.minimum(best, self._faiss.knn(queries, part, 1)[0][:, 0])
        return best

    def _search_lists(self, queries: NDArray[np.float32], own: slice) -> NDArray[np.float32]:
        found, index = self._probe(queries, 1, self._probes, own)
        squares: NDArray[np.float32] = found[:, 0]
        lost = index[:, 0] < 0  # all lists that were visited held rows of the excluded image only
        if lost.any():
            squares[lost] = self._probe(queries[lost], 1, self._lists, own)[0][:, 0]
        return squares

    def _search_images(self, queries: NDArray[np.float32], count: int, excluded: int | None) -> NDArray[np.float32]:
        """One image at a time, so that a block of distances stays in cache."""
        assert self._rows is not None
        # One product gives |b|^2 - 2 a.b; |a|^2 is added to what is left of it
        factors = np.hstack([-2 * queries, np.ones((len(queries), 1), np.float32)])
        nearest = np.full((count + 1, len(queries)), np.inf, np.float32)
        for i, (start, stop) in enumerate(itertools.pairwise(self.offsets)):
            if i != excluded and stop > start:
                rows = self._rows[start:stop]
                values = np.hstack([rows, (rows**2).sum(axis=1, keepdims=True)])
                nearest[count] = (factors @ values.T).min(axis=1)
                nearest.partition(count - 1, axis=0)
        squares: NDArray[np.float32] = np.sort(nearest[:count], axis=0).T + (queries**2).sum(axis=1, keepdims=True)
        return squares

    def _search_images_by_rows(self, queries: NDArray[np.float32], count: int, own: slice) -> NDArray[np.float32]:
        found, index = self._probe(queries, _ROWS_AN_IMAGE * count, IMAGE_PROBES, own)
        short = index[:, -1] < 0  # few rows in the lists that were visited
        if short.any():
            found[short], index[short] = self._probe(queries[short], found.shape[1], self._lists, own)
        found[index < 0] = np.inf
        farthest = np.where(index >= 0, found, -np.inf).max(axis=1, keepdims=True)
        owners = np.searchsorted(self.offsets, index, side="right") - 1
        # The place of the first row of each image: rows are sorted by distance, keys by image and then by distance
        ranks = found.shape[1]
        keys = np.sort(owners * ranks + np.arange(ranks), axis=1)
        again = np.zeros(keys.shape, bool)
        again[:, 1:] = keys[:, 1:] // ranks == keys[:, :-1] // ranks
        squares = np.take_along_axis(found, keys % ranks, axis=1)
        squares[again] = np.inf
        squares = np.sort(squares, axis=1)[:, :count]
        return np.minimum(squares, farthest)

    def _probe(
        self, queries: NDArray[np.float32], count: int, probes: int, own: slice
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Squared distances and numbers of the nearest rows in the lists next to each query; -1 if there are fewer."""
        faiss: Any = self._faiss  # its type stubs do not know the arguments of parameters
        others = faiss.IDSelectorNot(faiss.IDSelectorRange(own.start, own.stop)) if own.stop > own.start else None
        visited = faiss.SearchParametersIVF(nprobe=min(probes, self._lists), sel=others)
        squares, index = self._index.search(queries, count, params=visited)
        return squares, index


@contextmanager
def one_thread() -> Iterator[None]:
    """Search within the block take the calling thread alone, which several threads may do at once."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # of this thread
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _sample(images: list[NDArray[np.float32]], size: int, seed: int) -> NDArray[np.float32]:
    share = size / sum(len(image) for image in images)
    random = np.random.default_rng(seed)
    return np.concatenate([image[random.random(len(image)) < share] for image in images])
