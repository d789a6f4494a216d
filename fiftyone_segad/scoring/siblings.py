"""Find siblings: normal images that show the same part, or the neighbouring piece of the same material.

An image finds its nearest neighbours in its siblings, so that scored against them it looks more normal than a picture
of any new part. A patch votes for another image if its nearest row there is clearly nearer than those of other images:
that is the ratio test by which Lowe ("Distinctive image features from scale-invariant keypoints", IJCV 2004) tells
true matches from chance ones. Where all images are alike no patch votes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..utils.arrays import spread_indices
from .neighbors import NeighborIndex

QUERIES = 128
"""Patches of an image that are compared."""

RIVAL = 6
"""Rank of the image, among those nearest to a patch, that others must be clearly nearer than. Groups of more pictures
than that are found only as far as they fall apart into smaller ones; name them by a field."""

RATIO = 0.75
"""Share of the rival's distance below which an image gets the patch's vote, in banks of ``MANY`` images or more."""

MANY = 100
"""Images from which on ``RATIO`` holds. Of ``n`` fewer ones the nearest lie farther apart by chance, and the share is
``RATIO (n / MANY)^0.2``, as it would be in five dimensions."""

FEWEST = 16
"""Images of which siblings are told from chance ones, at least."""

SIBLING_VOTES = 0.5
"""Share of an image's patches whose votes make another image its sibling."""


def sibling_votes(index: NeighborIndex, rows: NDArray[np.floating], image: int) -> NDArray[np.float64]:
    """Return the share of an image's patches that vote for each image of a bank.

    Args:
        index: the bank
        rows: float array ``[n, d]`` of the image; ``QUERIES`` of them are looked at
        image: its number in the bank

    Returns:
        a float64 array ``[images]`` of shares in [0, 1]; 0 for all in a bank of less than ``FEWEST`` images

    Examples:
        >>> positions = [0.0, 0.1, *range(5, 25)]  # of 22 images with one row each
        >>> index = NeighborIndex([np.array([[float(position)]]) for position in positions])
        >>> np.flatnonzero(sibling_votes(index, np.array([[0.0]]), 0)).tolist()
        [1]
    """
    votes = np.zeros(index.images)
    if (np.diff(index.offsets) > 0).sum() < FEWEST:  # a small coreset may have no rows of an image
        return votes
    queries = rows[spread_indices(len(rows), QUERIES)]  # [q, d]
    distances, images = index.nearest_images(queries, RIVAL, [image])  # [q, RIVAL] both
    ratio = RATIO * min(index.images / MANY, 1) ** 0.2
    is_vote = (distances < ratio * distances[:, -1:]) & (images >= 0)
    votes += np.bincount(images[is_vote], minlength=index.images) / len(queries)
    return votes


def sibling_groups(votes: Iterable[tuple[int, NDArray[np.float64]]], images: int) -> list[list[int]]:
    """Join images with their siblings, and with theirs in turn.

    Args:
        votes: numbers of images, and the shares ``[images]`` of their patches that vote for each image
        images: images there are

    Returns:
        the numbers of the images of each group of at least two, ascending

    Examples:
        >>> votes = [(0, np.array([0, 0.1, 0.9, 0])), (1, np.array([0.2, 0, 0.3, 0])), (3, np.array([0, 0, 0, 0]))]
        >>> sibling_groups(votes, images=4)
        [[0, 2]]
    """
    from scipy.sparse import coo_array  # here, so that the package imports in no time
    from scipy.sparse.csgraph import connected_components

    pairs = [(image, other) for image, shares in votes for other in np.flatnonzero(shares >= SIBLING_VOTES)]
    first, second = np.array(pairs, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (first, second)), (images, images))
    _, labels = connected_components(graph, directed=False)
    return groups_of(labels)


def groups_of(labels: Sequence[object] | NDArray[np.generic]) -> list[list[int]]:
    """Return the positions of each label that occurs at least twice; None is no label.

    Examples:
        >>> groups_of(["b", "a", None, "b", None])
        [[0, 3]]
    """
    positions: dict[object, list[int]] = {}
    for position, label in enumerate(labels):
        if label is not None:
            positions.setdefault(label, []).append(position)
    return [group for group in positions.values() if len(group) > 1]
