"""Nearest neighbours: the distance of features to the nearest ones of a memory bank, with some images left out.

The distance to the nearest normal feature as the anomaly score is that of SPADE (Cohen and Hoshen, "Sub-image anomaly
detection with deep pyramid correspondences", 2020) and PatchCore (Roth et al., CVPR 2022, section 3.3). The search is
FAISS's (Douze et al., "The Faiss library", 2024). An inverted file divides the rows into lists by their nearest of a
few centres, and looks for a query in the lists of its nearest centres only.

Throughout, ``n`` queries ``q`` are compared with the rows ``m`` of a bank ``M``, which belong to images.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.threads import one_blas_thread

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

_ROWS_OF_TWO_PARTS = 16
"""Nearest rows that are looked at for one of another part than the nearest."""

_TRAINING_ROWS = 40
"""Rows per list from which the centres of the lists are found."""


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
        >>> index.distances(np.array([[3.0, 4.0]]), excluded=[1]).tolist()
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
        with one_blas_thread():  # FAISS has its own; several of BLAS for each of them would wait for each other
            self._index.train(_sample(images, self._lists * _TRAINING_ROWS, seed))
            while images:  # the index keeps a copy; not all rows need be held twice
                self._index.add(images.pop(0))

    @property
    def images(self) -> int:
        """Images there are."""
        return len(self.offsets) - 1

    def distances(self, queries: NDArray[np.floating], excluded: Sequence[int] = ()) -> NDArray[np.float32]:
        """Compute the Euclidean distance of each query to its nearest row: ``min over m in M of |q - m|``.

        Args:
            queries: array ``[n, d]``
            excluded: numbers of the images whose rows are left out

        Returns:
            float32 array ``[n]``

        Raises:
            ValueError: if no other image is left
        """
        values = np.ascontiguousarray(queries, np.float32)
        rows = self._others(excluded)
        squares = self._search_all(values, rows) if self._index is None else self._search_lists(values, rows)
        return np.sqrt(np.maximum(squares, 0))  # rounding may leave squares below 0

    def second_distances(
        self, queries: NDArray[np.floating], parts: NDArray[np.int64], excluded: Sequence[int] = ()
    ) -> NDArray[np.float32]:
        """Compute the distance ``[n]`` of each query to its second-nearest part, as ``nearest_parts`` does."""
        return self.nearest_parts(queries, parts, excluded)[2]

    def nearest_parts(
        self, queries: NDArray[np.floating], parts: NDArray[np.int64], excluded: Sequence[int] = ()
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """Find the nearest part of each query, and its Euclidean distances to that and to the second-nearest one.

        With ``m1`` the row nearest to ``q``, the second distance is ``min |q - m|`` over the rows ``m`` of all parts
        but that of ``m1``.

        Args:
            queries: array ``[n, d]``
            parts: int array ``[images]``, the same number for images of one part
            excluded: numbers of the images whose rows are left out

        Returns:
            float32 array ``[n]`` of distances, int64 array ``[n]`` of the nearest parts' numbers, and float32 array
            ``[n]`` of second distances; if only one part is left, these are the distances to it

        Raises:
            ValueError: if no other image is left

        Examples:
            >>> index = NeighborIndex([np.array([[0.0]]), np.array([[3.0], [4.0]]), np.array([[9.0]])])
            >>> nearest, parts, second = index.nearest_parts(np.array([[4.0], [9.0]]), parts=np.array([0, 1, 2]))
            >>> nearest.tolist(), parts.tolist(), second.tolist()
            ([0.0, 0.0], [1, 2], [4.0, 5.0])
        """
        values = np.ascontiguousarray(queries, np.float32)
        rows = self._others(excluded)
        search = self._nearest_of_all if self._index is None else self._nearest_of_lists
        squares, numbers = search(values, _ROWS_OF_TWO_PARTS, rows)  # [n, k] both, nearest first
        owners = parts[np.searchsorted(self.offsets, numbers, side="right") - 1]  # [n, k]
        is_other = (owners != owners[:, :1]) & (numbers >= 0)
        # The first of another part; where all k rows are of one part, argmax gives the nearest row
        second: NDArray[np.float32] = squares[np.arange(len(values)), is_other.argmax(axis=1)]  # [n]
        second = np.sqrt(np.maximum(second, 0))
        missing = ~is_other.any(axis=1)
        left = np.setdiff1d(np.flatnonzero(np.diff(self.offsets)), excluded)  # images that have rows
        if len(np.unique(parts[left])) > 1:
            for part in np.unique(owners[missing, 0]):
                is_of_part = missing & (owners[:, 0] == part)
                left_out = {*excluded, *np.flatnonzero(parts == part).tolist()}
                second[is_of_part] = self.distances(values[is_of_part], sorted(left_out))
        return np.sqrt(np.maximum(squares[:, 0], 0)), owners[:, 0], second

    def image_distances(
        self, queries: NDArray[np.floating], count: int, excluded: Sequence[int] = ()
    ) -> NDArray[np.float32]:
        """Compute the distances ``[n, count]`` of each query to its nearest images, as ``nearest_images`` does."""
        return self.nearest_images(queries, count, excluded)[0]

    def nearest_images(
        self, queries: NDArray[np.floating], count: int, excluded: Sequence[int] = ()
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest images of each query, and its distance to the nearest row of each of them.

        In a bank of more than ``EXACT_IMAGE_ROWS`` rows only the nearest ``16 count`` rows are looked at; if they
        are of fewer images, the farthest of them stands for those that are missing.

        Args:
            queries: array ``[n, d]``
            count: number of images
            excluded: numbers of the images that are left out

        Returns:
            a float32 array ``[n, count]`` of distances, nearest first, and an int64 array ``[n, count]`` of the
            images' numbers, -1 for those that are missing

        Raises:
            ValueError: if fewer images are left

        Examples:
            >>> index = NeighborIndex([np.array([[0.0]]), np.array([[3.0], [4.0]]), np.array([[9.0]])])
            >>> distances, images = index.nearest_images(np.array([[4.0]]), 2)
            >>> distances.tolist(), images.tolist()
            ([[0.0, 4.0]], [[1, 0]])
        """
        values = np.ascontiguousarray(queries, np.float32)
        rows = self._others(excluded)
        if count > self.images - len(excluded):
            raise ValueError(f"{count} images were asked for, the bank has {self.images}")
        if self._rows is not None:
            squares, images = self._search_images(values, count, excluded)
        else:
            squares, images = self._search_images_by_rows(values, count, rows)
        return np.sqrt(np.maximum(squares, 0)), images

    def _others(self, excluded: Sequence[int]) -> list[slice]:
        """Return the rows before, between and after those of the excluded images."""
        images = sorted(excluded)
        starts = [0, *self.offsets[[image + 1 for image in images]].tolist()]
        stops = [*self.offsets[images].tolist(), self.size]
        rows = [slice(start, stop) for start, stop in zip(starts, stops, strict=True) if stop > start]
        if not rows:
            raise ValueError("The bank holds no rows of others: raise bank_size, or add normal images of other parts")
        return rows

    def _nearest_of_all(
        self, queries: NDArray[np.float32], count: int, rows: list[slice]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return squared distances and numbers, ``[n, count]`` or fewer, of the nearest of some rows."""
        assert self._rows is not None
        numbers = np.concatenate([np.arange(part.start, part.stop) for part in rows])
        squares, nearest = self._faiss.knn(queries, self._rows[numbers], min(count, len(numbers)))
        return squares, numbers[nearest]

    def _nearest_of_lists(
        self, queries: NDArray[np.float32], count: int, rows: list[slice]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return squared distances and numbers ``[n, count]`` of the nearest of some rows in the lists next to each.

        A number is -1 where there are fewer.
        """
        squares, numbers = self._probe(queries, count, self._probes, rows)
        empty = numbers[:, 0] < 0  # the visited lists hold rows of excluded images only: visit all
        if empty.any():
            squares[empty], numbers[empty] = self._probe(queries[empty], count, self._lists, rows)
        return squares, numbers

    def _search_all(self, queries: NDArray[np.float32], rows: list[slice]) -> NDArray[np.float32]:
        """Return the squared distances ``[n]`` to the nearest of some rows."""
        assert self._rows is not None
        nearest = np.full(len(queries), np.inf, np.float32)
        for part in rows:
            nearest = np.minimum(nearest, self._faiss.knn(queries, self._rows[part], 1)[0][:, 0])
        return nearest

    def _search_lists(self, queries: NDArray[np.float32], rows: list[slice]) -> NDArray[np.float32]:
        """Return the squared distances ``[n]`` to the nearest row of the lists next to each query."""
        squares: NDArray[np.float32] = self._nearest_of_lists(queries, 1, rows)[0][:, 0]
        return squares

    def _search_images(
        self, queries: NDArray[np.float32], count: int, excluded: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return squared distances and numbers ``[n, count]`` of the nearest images, compared with all rows.

        One image at a time, so that a block of distances stays in the processor's cache.
        """
        assert self._rows is not None
        # One product of rows [d + 1] gives |m|^2 - 2 q.m; |q|^2 is the same for all and added to the nearest
        factors = np.hstack([-2 * queries, np.ones((len(queries), 1), np.float32)])  # [n, d + 1]
        nearest = np.full((self.images, len(queries)), np.inf, np.float32)
        for image, (start, stop) in enumerate(itertools.pairwise(self.offsets)):
            if image not in excluded and stop > start:
                rows = self._rows[start:stop]
                values = np.hstack([rows, (rows**2).sum(axis=1, keepdims=True)])  # [n_i, d + 1]
                nearest[image] = (factors @ values.T).min(axis=1)  # [n, n_i] -> [n]
        images = np.argpartition(nearest, count - 1, axis=0)[:count]  # [count, n], in no order
        squares = np.take_along_axis(nearest, images, axis=0)
        order = np.argsort(squares, axis=0, kind="stable")
        images = np.take_along_axis(images, order, axis=0).T  # [n, count]
        squares = np.take_along_axis(squares, order, axis=0).T
        return squares + (queries**2).sum(axis=1, keepdims=True), np.where(np.isfinite(squares), images, -1)

    def _search_images_by_rows(
        self, queries: NDArray[np.float32], count: int, rows: list[slice]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return squared distances and numbers ``[n, count]`` of the nearest images, by the owners of the nearest rows.

        Of the ``k = 16 count`` nearest rows only the first of each image counts.
        """
        squares, numbers = self._probe(queries, _ROWS_PER_IMAGE * count, IMAGE_PROBES, rows)  # [n, k] both
        short = numbers[:, -1] < 0  # fewer than k rows in the visited lists: visit all
        if short.any():
            squares[short], numbers[short] = self._probe(queries[short], squares.shape[1], self._lists, rows)
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
        order = np.argsort(nearest, axis=1, kind="stable")[:, :count]
        nearest, images = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(keys // k, order, axis=1)
        return np.minimum(nearest, farthest), np.where(np.isfinite(nearest), images, -1)

    def _probe(
        self, queries: NDArray[np.float32], count: int, probes: int, rows: list[slice]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the ``count`` nearest of some rows in the lists next to each query.

        Returns:
            squared distances and numbers of these rows, both ``[n, count]``; a number is -1 if there are fewer rows
        """
        faiss: Any = self._faiss  # its type stubs do not know the arguments of parameters
        selector = None
        if rows != [slice(0, self.size)]:
            is_other = np.zeros(self.size, bool)
            for part in rows:
                is_other[part] = True
            selector = faiss.IDSelectorBitmap(np.packbits(is_other, bitorder="little"))
        parameters = faiss.SearchParametersIVF(nprobe=min(probes, self._lists), sel=selector)
        squares, numbers = self._index.search(queries, count, params=parameters)
        return squares, numbers


@contextmanager
def search_threads(count: int) -> Iterator[None]:
    """Let each search that this thread begins within the block take that many threads.

    With one, several threads may search at once. Limits of BLAS reach FAISS too, in the thread that sets them: within
    ``one_blas_thread`` it would have one.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)  # of this thread
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _sample(images: list[NDArray[np.float32]], size: int, seed: int) -> NDArray[np.float32]:
    """Choose about ``size`` rows of all images at random."""
    share = size / sum(len(image) for image in images)
    random = np.random.default_rng(seed)
    return np.concatenate([image[random.random(len(image)) < share] for image in images])
