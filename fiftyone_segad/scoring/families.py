"""Families: anomalous regions that are alike, found by how they look and by how they differ from what is normal.

A region is described by a vector of length 1, so that the product of two vectors is their similarity: 1 for regions
that look the same, about 0 for those that have nothing in common. The similarity of a region to a family is the mean
of those to its members, which is the product with their mean vector.

Families are the branches of a tree (average linkage). Where it is cut, and so how many families there are, is where the
links between each region and the few regions most like it fall within families rather than between them: modularity
(Newman, "Modularity and community structure in networks", PNAS 2006). Only the nearest regions have a say, so that one
kind may be ten times as frequent, or as varied, as another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_FAMILIES = 15
"""Families at most: more are no help to the person who decides on each."""

NEIGHBOURS = 5
"""Regions most like a region that it is linked with. From 3 to 7 the families of the sets that were tried hardly
change."""

MOST_GROUPED = 4000
"""Regions that the tree is made of at most; the others are assigned to its families."""

SINGLE = -1
"""Number of the family of a region that fits into none."""

_POOREST = 0.05
"""Share of a family's members, those that fit least, below which a later region must not lie."""

_FEWEST_NEIGHBOURS = 3
_MOST_CUTS = 200

_USUAL = 0.75
"""Share of the pairs of regions of different families that a region must be more like its own family than."""


@dataclass(frozen=True)
class Prototypes:
    """What later regions are compared with to find their families.

    Attributes:
        means: float32 array ``[f, d]``, the mean vector of each family
        limits: float32 array ``[f]``, similarity to it from which on a region belongs to the family
    """

    means: NDArray[np.float32]
    limits: NDArray[np.float32]

    def assign(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Assign regions to the families that they fit best, if they fit as well as its members do.

        Args:
            vectors: array ``[n, d]``

        Returns:
            int array ``[n]`` of families, ``SINGLE`` where none fits, and float32 array ``[n]`` of the similarities to
            the best one
        """
        if not len(self.means):
            return np.full(len(vectors), SINGLE), np.zeros(len(vectors), np.float32)
        similarities = vectors @ self.means.T  # [n, f]
        best = similarities.argmax(axis=1)
        fits = similarities[np.arange(len(vectors)), best]  # [n]
        return np.where(fits >= self.limits[best], best, SINGLE), fits


def group_regions(vectors: NDArray[np.float32], most: int = MOST_FAMILIES) -> NDArray[np.int64]:
    """Group regions that are alike into families; how many there are is found.

    Args:
        vectors: array ``[n, d]`` of vectors of length 1
        most: families at most

    Returns:
        int array ``[n]`` of numbers from 0 on, the largest family first; ``SINGLE`` for regions that fit nowhere

    Examples:
        >>> angles = np.array([0.0, 0.1, 0.2, 1.5, 1.6, 1.7, 3.4])
        >>> group_regions(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)).tolist()
        [0, 0, 0, 1, 1, 1, -1]
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # here, so that the package imports in no time
    from scipy.spatial.distance import squareform

    if len(vectors) > MOST_GROUPED:
        families = np.full(len(vectors), SINGLE)
        families[:MOST_GROUPED] = group_regions(vectors[:MOST_GROUPED], most)
        prototypes = make_prototypes(vectors[:MOST_GROUPED], families[:MOST_GROUPED])
        families[MOST_GROUPED:] = prototypes.assign(vectors[MOST_GROUPED:])[0]
        return _by_size(families)
    if len(vectors) < 2 or most < 1:
        return np.full(len(vectors), SINGLE)
    distances = _distances(vectors)
    tree = linkage(squareform(distances, checks=False), "average")
    links = _links(distances)
    best, highest = np.zeros(len(vectors), np.int64), -np.inf
    for count in range(1, min(len(vectors), _MOST_CUTS) + 1):
        branches = fcluster(tree, count, "maxclust") - 1  # [n]
        families = (np.bincount(branches) > 1).sum()
        quality = _modularity(links, branches)
        if 1 <= families <= most and quality > highest + 1e-9:
            best, highest = branches, quality
    return _by_size(_without_strangers(1 - distances, best))


def split_regions(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Take the regions of a family apart into the two branches that are least alike: True ``[n]`` on the smaller one.

    Examples:
        >>> split_regions(np.array([[1, 0], [0.8, 0.6], [0, 1], [1, 0]], np.float32)).tolist()
        [False, False, True, False]
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(vectors) < 2:
        return np.zeros(len(vectors), bool)
    branches = fcluster(linkage(squareform(_distances(vectors), checks=False), "average"), 2, "maxclust")
    is_second: NDArray[np.bool_] = branches == 2
    return is_second if 2 * is_second.sum() <= len(vectors) else ~is_second


def _distances(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 minus the similarity of each two regions, ``[n, n]``."""
    distances = np.maximum(1 - vectors @ vectors.T, 0)  # [n, n]
    distances = (distances + distances.T) / 2  # products of matrices may differ in the last bit
    np.fill_diagonal(distances, 0)
    return distances


def _without_strangers(similarities: NDArray[np.float32], branches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Take regions out of their families that are no more like them than regions of different families often are.

    Args:
        similarities: array ``[n, n]``
        branches: int array ``[n]`` of families
    """
    same = branches[:, None] == branches  # [n, n]
    if same.all():
        return branches
    usual = float(np.quantile(similarities[~same], _USUAL))
    np.fill_diagonal(same, False)
    fits = (similarities * same).sum(axis=1) / np.maximum(same.sum(axis=1), 1)  # [n]
    return np.where(fits > usual, branches, SINGLE)


def _links(distances: NDArray[np.float32]) -> NDArray[np.int64]:
    """Link each region with the few that are most like it: an int array ``[n * k, 2]``."""
    others = distances + np.where(np.eye(len(distances), dtype=bool), np.inf, 0)
    # Fewer where there are few regions, or two families would be linked throughout
    count = min(NEIGHBOURS, max(len(distances) // 4, _FEWEST_NEIGHBOURS), len(distances) - 1)
    nearest = np.argsort(others, axis=1, kind="stable")[:, :count]  # [n, k]
    return np.stack([np.repeat(np.arange(len(distances)), count), nearest.ravel()], axis=1)


def _modularity(links: NDArray[np.int64], branches: NDArray[np.int64]) -> float:
    """Compute the modularity ``sum over families of e - a^2`` of links ``[m, 2]``.

    ``e`` is the share of the links that lie within a family, and ``a`` the share of the links' ends that do.
    """
    ends = branches[links]  # [m, 2]
    within = float((ends[:, 0] == ends[:, 1]).mean())
    shares = np.bincount(ends.ravel()) / ends.size
    return within - float((shares**2).sum())


def _by_size(branches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return branches of two or more regions by number, largest first, then in the order of their first regions."""
    numbers, first, counts = np.unique(branches, return_index=True, return_counts=True)
    order = [i for i in np.lexsort([first, -counts]) if counts[i] > 1 and numbers[i] != SINGLE]
    families = np.full(len(branches), SINGLE)
    for family, i in enumerate(order):
        families[branches == numbers[i]] = family
    return families


def member_fits(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the similarity of each member of a family to the others, ``[n]``; 1 for a member alone.

    Examples:
        >>> member_fits(np.array([[1, 0], [1, 0], [0, 1]], np.float32)).tolist()
        [0.5, 0.5, 0.0]
    """
    if len(vectors) < 2:
        return np.ones(len(vectors), np.float32)
    total = vectors.sum(axis=0)  # [d]
    squares = (vectors**2).sum(axis=1)  # [n], 1 each
    fits: NDArray[np.float32] = ((vectors @ total - squares) / (len(vectors) - 1)).astype(np.float32)
    return fits


def make_prototypes(vectors: NDArray[np.float32], families: NDArray[np.int64]) -> Prototypes:
    """Make the prototypes of the families of regions.

    A later region belongs to a family if it is as similar to it as all but the 5 % of its members that fit least.

    Args:
        vectors: array ``[n, d]``
        families: int array ``[n]``, 0 to f - 1 or ``SINGLE``
    """
    count = int(families.max(initial=SINGLE)) + 1
    means = np.zeros((count, vectors.shape[1]), np.float32)
    limits = np.zeros(count, np.float32)
    for family in range(count):
        members = vectors[families == family]
        if len(members):
            means[family] = members.mean(axis=0)
            limits[family] = np.quantile(member_fits(members), _POOREST, method="lower")
        else:
            limits[family] = np.inf
    return Prototypes(means, limits)
