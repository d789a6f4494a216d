"""Groups of images that are alike: nearest neighbours and connected components. Knows nothing of FiftyOne."""

from __future__ import annotations

import hashlib
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

_LINKS = 32  # links a node of that graph; fastdup's "HNSW32"

Pairs = NDArray[np.int64]
"""Int array ``[m, 2]`` of numbers of images."""

_Key = TypeVar("_Key")


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """A digest that two images share if, and only if, size and decoded pixels are the same."""
    return hashlib.blake2b(pixels.tobytes(), digest_size=16, key=repr(pixels.shape).encode()).hexdigest()


def equal_pairs(keys: Sequence[_Key]) -> Pairs:
    """Pairs that link all images of an equal key: each with the first that has it."""
    first: dict[_Key, int] = {}
    pairs = [(first[key], i) for i, key in enumerate(keys) if first.setdefault(key, i) != i]
    return np.array(pairs, np.int64).reshape(-1, 2)


def nearest(features: NDArray[np.floating], count: int = NEIGHBOURS) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The nearest other images of each image by cosine similarity. Memory is linear in the images.

    Args:
        features: array ``[n, d]``
        count: number of others; fewer if there are fewer

    Returns:
        similarities in [-1, 1] and numbers, both ``[n, min(count, n - 1)]``, most similar first
    """
    import faiss  # here, so that the package imports in no time

    rows = np.ascontiguousarray(normalize(features), np.float32)
    n, width = rows.shape
    count = min(count, n - 1)
    if count < 1:
        return np.zeros((n, 0), np.float32), np.zeros((n, 0), np.int64)
    few = n <= EXACT_IMAGES
    index: Any = faiss.IndexFlatIP(width) if few else faiss.IndexHNSWFlat(width, _LINKS, faiss.METRIC_INNER_PRODUCT)
    index.add(rows)
    similarities, found = index.search(rows, count + 1)
    # Itself is not among them where more than `count` others are equal to it; then the last one goes
    drop = np.where((own := found == np.arange(n)[:, None]).any(axis=1), own.argmax(axis=1), count)
    kept = np.arange(count + 1) != drop[:, None]
    return similarities[kept].reshape(n, count), found[kept].reshape(n, count)


def near_pairs(features: NDArray[np.floating], threshold: float = THRESHOLD) -> Pairs:
    """Pairs of nearest neighbours that are at least as similar as a threshold, as fastdup links them."""
    similarities, found = nearest(features)
    source, place = np.nonzero((similarities >= threshold) & (found >= 0))
    return np.stack([source, found[source, place]], axis=1).astype(np.int64)


def connected(count: int, pairs: Pairs) -> list[list[int]]:
    """The connected components of two images or more.

    Args:
        count: number of images
        pairs: the links

    Returns:
        the images of each, in order; groups in the order of their first images
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels = connected_components(links, directed=False)[1]
    members: dict[int, list[int]] = {}
    for image, label in enumerate(labels.tolist()):
        members.setdefault(label, []).append(image)
    return [group for group in members.values() if len(group) > 1]
