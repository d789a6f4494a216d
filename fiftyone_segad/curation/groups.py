"""Groups of images that are alike: nearest neighbours and connected components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..embedders.base import normalize

THRESHOLD = 0.96
"""Cosine similarity from which fastdup puts two images into one component (its ``ccthreshold``)."""

NEIGHBOURS = 2
"""Nearest images of each image that fastdup looks at (its ``nearest_neighbors_k``)."""

EXACT_IMAGES = 30_000
"""Images up to which all are compared; more are searched by the graph that fastdup uses, in time linear in them."""

_LINKS = 32  # links per node of that graph; fastdup's "HNSW32"

Pairs = NDArray[np.int64]
"""Int array ``[m, 2]`` of numbers of images."""

_Key = TypeVar("_Key")


def equal_pairs(keys: Sequence[_Key]) -> Pairs:
    """Link all images of an equal key: each with the first that has it.

    Examples:
        >>> equal_pairs(["a", "b", "a", "a"]).tolist()
        [[0, 2], [0, 3]]
    """
    first: dict[_Key, int] = {}
    pairs = [(first[key], i) for i, key in enumerate(keys) if first.setdefault(key, i) != i]
    return np.array(pairs, np.int64).reshape(-1, 2)


def nearest(features: NDArray[np.floating], count: int = NEIGHBOURS) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Search the nearest other images of each image by cosine similarity. Memory is linear in the images.

    Args:
        features: array ``[n, d]``
        count: number of others; fewer if there are fewer

    Returns:
        similarities in [-1, 1] and numbers, both ``[n, min(count, n - 1)]``, most similar first

    Examples:
        >>> similarities, neighbours = nearest(np.array([[1.0, 0], [3, 4], [0, 2]]), count=1)
        >>> print(similarities.ravel(), neighbours.ravel())
        [0.6 0.8 0.8] [1 2 1]
    """
    import faiss  # here, so that the package imports in no time

    rows = np.ascontiguousarray(normalize(features), np.float32)  # [n, d]
    n, width = rows.shape
    count = min(count, n - 1)
    if count < 1:
        return np.zeros((n, 0), np.float32), np.zeros((n, 0), np.int64)
    few = n <= EXACT_IMAGES
    index: Any = faiss.IndexFlatIP(width) if few else faiss.IndexHNSWFlat(width, _LINKS, faiss.METRIC_INNER_PRODUCT)
    index.add(rows)
    similarities, neighbours = index.search(rows, count + 1)  # [n, count + 1] each
    # An image itself is not among them where more than `count` others are equal to it; then the last one goes
    is_itself = neighbours == np.arange(n)[:, None]
    drop = np.where(is_itself.any(axis=1), is_itself.argmax(axis=1), count)
    others = np.arange(count + 1) != drop[:, None]
    return similarities[others].reshape(n, count), neighbours[others].reshape(n, count)


def near_pairs(features: NDArray[np.floating], threshold: float = THRESHOLD) -> Pairs:
    """Link nearest neighbours that are at least as similar as a threshold, as fastdup does.

    Examples:
        >>> near_pairs(np.array([[1.0, 0], [3, 4], [0, 2]]), threshold=0.7).tolist()
        [[1, 2], [2, 1]]
    """
    similarities, neighbours = nearest(features)
    image, place = np.nonzero((similarities >= threshold) & (neighbours >= 0))
    return np.stack([image, neighbours[image, place]], axis=1).astype(np.int64)


def connected_groups(count: int, pairs: Pairs) -> list[list[int]]:
    """Group images that are linked, directly or through others, into components of two or more.

    Args:
        count: number of images
        pairs: the links

    Returns:
        the images of each, in order; groups in the order of their first images

    Examples:
        >>> connected_groups(6, np.array([[5, 1], [4, 0], [1, 3]]))
        [[0, 4], [1, 3, 5]]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels = connected_components(links, directed=False)[1]
    members: dict[int, list[int]] = {}
    for image, label in enumerate(labels.tolist()):
        members.setdefault(label, []).append(image)
    return [group for group in members.values() if len(group) > 1]
