"""Tell from scored images whether a bank of normal images holds defective ones.

A normal place has near neighbours in many parts, a defect usually in none. Where a scored image has an odd place that
one part of the bank alone is like, that part *excuses* it. A normal image does so for parts that lie or look like few
others, among the normal images themselves as often as in scored ones. A defective image in the bank excuses the
defective among the scored images, and hardly any normal one: that is what tells a dirty bank from a varied one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

USUAL = 0.98
"""Share of the patches of normal images that are no odd place."""

RATIO = 0.7
"""Share of the distance to the second-nearest part below which the nearest one excuses a patch alone."""

FEWEST_PATCHES = 2
"""Patches of an image that are excused by one part alone, at least, for it to count."""

FEWEST_SHARE = 0.004
"""Share of the patches of an image that are so, at least."""

FACTOR = 2.0
"""Times that scored images are excused as often as normal ones, at least: then most of what is named is rightly so."""

SIGNIFICANCE = 0.01
"""Probability of a difference between scored and normal images as large by chance, below which a bank is dirty."""


@dataclass(frozen=True)
class Matches:
    """The nearest parts of the patches of an image.

    Attributes:
        nearest: float array ``[n]``, distances to the nearest part
        parts: int array ``[n]``, numbers of these parts
        second: float array ``[n]``, distances to the second-nearest part
    """

    nearest: NDArray[np.floating]
    parts: NDArray[np.integer]
    second: NDArray[np.floating]

    def excusing(self, limit: float) -> list[int]:
        """Return the parts that alone excuse places that are odd, farther than a limit from all others.

        Examples:
            >>> matches = Matches(np.array([1.0, 1.0, 4.0]), np.array([7, 7, 3]), np.array([5.0, 6.0, 5.0]))
            >>> matches.excusing(limit=2.0)
            [7]
        """
        is_excused = (self.second > limit) & (self.nearest < RATIO * self.second)
        parts, counts = np.unique(self.parts[is_excused], return_counts=True)
        return [int(part) for part in parts[counts >= max(FEWEST_PATCHES, FEWEST_SHARE * len(self.parts))]]

    def raised_without(self, part: int) -> NDArray[np.floating]:
        """Return by how much the distances ``[n]`` to the nearest part grow if a part is left out.

        Examples:
            >>> matches = Matches(np.array([1.0, 1.0, 4.0]), np.array([7, 7, 3]), np.array([5.0, 6.0, 5.0]))
            >>> matches.raised_without(7).tolist()
            [4.0, 5.0, 0.0]
        """
        return np.where(self.parts == part, self.second - self.nearest, 0.0)


def suspicious_parts(normal: Sequence[Matches], scored: Sequence[Matches]) -> list[int]:
    """Find the parts of a bank that are probably defective, by Fisher's exact test of all of them together.

    Args:
        normal: normal images, each matched without its own part
        scored: scored images that are not in the bank

    Returns:
        the parts that excuse scored images, those that excuse most first; empty where scored images are excused no
        more often than normal ones

    Examples:
        >>> usual = Matches(np.ones(50), np.zeros(50, int), np.linspace(1, 1.2, 50))
        >>> excused = Matches(np.ones(50), np.full(50, 8), np.full(50, 5.0))
        >>> suspicious_parts([usual] * 40, [usual] * 30 + [excused] * 10)
        [8]
        >>> suspicious_parts([usual] * 30 + [excused] * 10, [usual] * 30 + [excused] * 10)
        []
    """
    from scipy.stats import fisher_exact  # here, so that the package imports in no time

    if not normal or not scored:
        return []
    limit = float(np.quantile(np.concatenate([matches.second for matches in normal]), USUAL))
    normal_parts, scored_parts = ([image.excusing(limit) for image in images] for images in (normal, scored))
    normal_count, scored_count = (sum(map(bool, parts)) for parts in (normal_parts, scored_parts))
    table = [[scored_count, len(scored) - scored_count], [normal_count, len(normal) - normal_count]]
    is_often = scored_count * len(normal) >= FACTOR * normal_count * len(scored)
    if not is_often or fisher_exact(table, "greater").pvalue >= SIGNIFICANCE:
        return []
    parts, counts = np.unique([part for image in scored_parts for part in image], return_counts=True)
    return [int(part) for part in parts[np.argsort(-counts, kind="stable")]]
