"""Nearest neighbours: the distance of features to the nearest ones of a memory bank, with one image left out.

The distance to the nearest normal feature as the anomaly score is that of SPADE (Cohen and Hoshen, "Sub-image anomaly
detection with deep pyramid correspondences", 2020) and PatchCore (Roth et al., CVPR 2022, section 3.3). The search is
FAISS's (Douze et al., "The Faiss library", 2024). An inverted file divides the rows into lists by their nearest of a
few centres, and looks for a query in the lists of its nearest centres only.

Throughout, ``n`` queries ``q`` are compared with the rows ``m`` of a bank ``M``, which belong to images.
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

_ROWS_PER_IMAGE = 16
"""Nearest rows that are looked at for each of the nearest images that are asked for, as images have several of them."""

_TRAINING_ROWS = 40
"""Rows per list from which the centres of the lists are found."""

_NO_ROWS = slice(0, 0)


class NeighborIndex:
    """Rows of many images, to be searched for the nearest ones.

    Args:
        rows: float arrays ``[n_i, d]``, image after image
        seed: seed of the inverted file

    Attributes:
        offsets: int array ``[images + 1]``, the numbers of the first row of each image, and of all rows
        size: rows there are

    Raises:
        ValueError: if there is no row

    Examples:
        >>> index = NeighborIndex([np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [6.0, 8.0]])])
        >>> index.distances(np.array([[3.0, 4.0]])).tolist()
        [0.0]
        >>> index.distances(np.array([[3.0, 4.0]]), excluded=1).tolist()
        [5.0]
    """

    def __init__(self, rows: Iterable[NDArray[np.floating]], seed: int = 0) -> None:
        import faiss  # here, so that the package imports in no time

        self._faiss = faiss
        images = [np.ascontiguousarray(image, np.float32) for image in rows]
        self.offsets = np.concatenate([[0], np.cumsum([len(image) for image in images], dtype=np.int64)])
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
        """Images there are."""
        return len(self.offsets) - 1

    def distances(self, queries: NDArray[np.floating], excluded: int | None = None) -> NDArray[np.float32]:
        """Compute the Euclidean distance of each query to its nearest row: ``min over m in M of |q - m|``.

        Args:
            queries: array ``[n, d]``
            excluded: number of the image whose rows are left out

        Returns:
            float32 array ``[n]``

        Raises:
            ValueError: if no other image is left
        """
        values = np.ascontiguousarray(queries, np.float32)
        left_out = self._rows_of(excluded)
        squares = self._search_all(values, left_out) if self._index is None else self._search_lists(values, left_out)
        return np.sqrt(np.maximum(squares, 0))  # rounding may leave squares below 0

    def image_distances(
        self, queries: NDArray[np.floating], count: int, excluded: int | None = None
    ) -> NDArray[np.float32]:
        """Compute the distances of each query to its nearest images: to the nearest row of each of them.

        In a bank of more than ``EXACT_IMAGE_ROWS`` rows only the nearest ``16 count`` rows are looked at; if they
        are of fewer images, the farthest of them stands for those that are missing.

        Args:
            queries: array ``[n, d]``
            count: number of images
            excluded: number of the image that is left out

        Returns:
            float32 array ``[n, count]``, nearest first

        Raises:
            ValueError: if fewer images are left
        """
        values = np.ascontiguousarray(queries, np.float32)
        left_out = self._rows_of(excluded)
        if count > self.images - (excluded is not None):
            raise ValueError(f"{count} images were asked for, the bank has {self.images}")
        if self._rows is not None:
            squares = self._search_images(values, count, excluded)
        else:
            squares = self._search_images_by_rows(values, count, left_out)
        return np.sqrt(np.maximum(squares, 0))

    def _rows_of(self, excluded: int | None) -> slice:
        if excluded is None:
            return _NO_ROWS
        rows = slice(int(self.offsets[excluded]), int(self.offsets[excluded + 1]))
        if rows.stop - rows.start == self.size:
            raise ValueError("Leaving one image out needs a bank of at least two")
        return rows

    def _search_all(self, queries: NDArray[np.float32], left_out: slice) -> NDArray[np.float32]:
        """Return the squared distances ``[n]`` to the nearest of all rows before and after those left out."""
        assert self._rows is not None
        nearest = np.full(len(queries), np.inf, np.float32)
        for rows in (self._rows[: left_out.start], self._rows[left_out.stop :]):
            if len(rows):
                nearest = np.minimum(nearest, self._faiss.knn(queries, rows, 1)[0][:, 0])
        return nearest

    def _search_lists(self, queries: NDArray[np.float32], left_out: slice) -> NDArray[np.float32]:
        """Return the squared distances ``[n]`` to the nearest row of the lists next to each query."""
        squares, numbers = self._probe(queries, 1, self._probes, left_out)  # [n, 1] both
        nearest: NDArray[np.float32] = squares[:, 0]
        empty = numbers[:, 0] < 0  # the visited lists hold rows of the excluded image only: visit all
        if empty.any():
            nearest[empty] = self._probe(queries[empty], 1, self._lists, left_out)[0][:, 0]
        return nearest

    def _search_images(self, queries: NDArray[np.float32], count: int, excluded: int | None) -> NDArray[np.float32]:
        """Return the squared distances ``[n, count]`` to the nearest images, compared with all rows.

        One image at a time, so that a block of distances stays in the processor's cache.
        """
        assert self._rows is not None
        # One product of rows [d + 1] gives |m|^2 - 2 q.m; |q|^2 is the same for all and added to the nearest
        factors = np.hstack([-2 * queries, np.ones((len(queries), 1), np.float32)])  # [n, d + 1]
        nearest = np.full((count + 1, len(queries)), np.inf, np.float32)  # the last row is for the image at hand
        for image, (start, stop) in enumerate(itertools.pairwise(self.offsets)):
            if image != excluded and stop > start:
                rows = self._rows[start:stop]
                values = np.hstack([rows, (rows**2).sum(axis=1, keepdims=True)])  # [n_i, d + 1]
                nearest[count] = (factors @ values.T).min(axis=1)  # [n, n_i] -> [n]
                nearest.partition(count - 1, axis=0)  # the farthest of count + 1 goes last, to be replaced next
        squares: NDArray[np.float32] = np.sort(nearest[:count], axis=0).T + (queries**2).sum(axis=1, keepdims=True)
        return squares

    def _search_images_by_rows(self, queries: NDArray[np.float32], count: int, left_out: slice) -> NDArray[np.float32]:
        """Return the squared distances ``[n, count]`` to the nearest images, by the owners of the nearest rows.

        Of the ``k = 16 count`` nearest rows only the first of each image counts.
        """
        squares, numbers = self._probe(queries, _ROWS_PER_IMAGE * count, IMAGE_PROBES, left_out)  # [n, k] both
        short = numbers[:, -1] < 0  # fewer than k rows in the visited lists: visit all
        if short.any():
            squares[short], numbers[short] = self._probe(queries[short], squares.shape[1], self._lists, left_out)
        squares[numbers < 0] = np.inf
        farthest = np.where(numbers >= 0, squares, -np.inf).max(axis=1, keepdims=True)  # [n, 1]
        owners = np.searchsorted(self.offsets, numbers, side="right") - 1  # [n, k], the image of each row
        # Rows are sorted by distance; sorted by owner and then by distance, the first of each owner is its nearest
        k = squares.shape[1]
        keys = np.sort(owners * k + np.arange(k), axis=1)  # owner * k + rank: both can be read off again
        repeated = np.zeros(keys.shape, bool)
        repeated[:, 1:] = keys[:, 1:] // k == keys[:, :-1] // k
        nearest = np.take_along_axis(squares, keys % k, axis=1)
        nearest[repeated] = np.inf
        nearest = np.sort(nearest, axis=1)[:, :count]
        return np.minimum(nearest, farthest)

    def _probe(
        self, queries: NDArray[np.float32], count: int, probes: int, left_out: slice
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the ``count`` nearest rows in the lists next to each query.

        Returns:
            squared distances and numbers of these rows, both ``[n, count]``; a number is -1 if there are fewer rows
        """
        faiss: Any = self._faiss  # its type stubs do not know the arguments of parameters
        others = None
        if left_out.stop > left_out.start:
            others = faiss.IDSelectorNot(faiss.IDSelectorRange(left_out.start, left_out.stop))
        parameters = faiss.SearchParametersIVF(nprobe=min(probes, self._lists), sel=others)
        squares, numbers = self._index.search(queries, count, params=parameters)
        return squares, numbers


@contextmanager
def one_thread() -> Iterator[None]:
    """Let searches within the block take the calling thread alone, which several threads may do at once."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # of this thread
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _sample(images: list[NDArray[np.float32]], size: int, seed: int) -> NDArray[np.float32]:
    """Choose about ``size`` rows of all images at random."""
    share = size / sum(len(image) for image in images)
    random = np.random.default_rng(seed)
    return np.concatenate([image[random.random(len(image)) < share] for image in images])
