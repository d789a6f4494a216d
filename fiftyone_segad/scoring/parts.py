"""P-values of parts that several views show, from the scores of the views of normal parts.

The share that is asked for holds for parts: a part of six pictures, each flagged with a chance of 5 %, would be flagged
with one of up to 26 %. The statistic of a part is the smallest of the p-values of its views (Tippett, "The methods of
statistics", 1931), each relative to the normal pictures of the same view. What is usual of it under views that depend
on each other in whatever way is found from the normal parts, as by the resampling of Westfall and Young
("Resampling-based multiple testing", 1993). Here the new part joins the ``n`` normal ones, the statistic of each of
these ``n + 1`` parts is computed among all of them, and the p-value of the new one is its rank: full conformal
prediction (Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005). All parts are treated alike,
so that a new normal part, being exchangeable with the others, gets a p-value of at most ``a`` with a chance of at most
``a``, however its views depend.

Ranks tie: each view has its highest part. Among parts of the same smallest p-value that one is the more extreme whose
largest excess, ``(s - median) / (median absolute deviation)`` over the parts of the view, is higher.

Compared are the normal parts that have all views of the new one, and these views only. Where they are too few to
support the share, and the pictures of single views are enough for smaller p-values, the smallest p-value of the
pictures is multiplied by their number (Bonferroni), which holds for dependent pictures, too, at the price of finding
less."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conformal import NormalScores

CONFORMAL = "conformal"
"""The rank of the smallest p-value among normal parts that have the same views."""

BONFERRONI = "bonferroni"
"""The smallest p-value times the number of pictures."""

_ROUNDING = 1e-9
"""Keeps a share of ``1 / (n + 1)`` from being below the one that is asked for."""


@dataclass(frozen=True)
class PartValue:
    """The p-value of a part.

    Attributes:
        p_value: in (0, 1]
        picture: index of the picture that is the most unusual of its view
        method: ``conformal`` or ``bonferroni``
        smallest: the smallest p-value that the normal parts support
        judged: number of pictures whose view is known of normal parts; the others do not count
    """

    p_value: float
    picture: int
    method: str
    smallest: float
    judged: int


class NormalParts:
    """Scores of the pictures of normal parts, each scored without its own part in the bank.

    Args:
        scores: float array ``[n]``, one score per picture
        parts: the part of each picture
        views: the view of each picture; pictures of one part that have the same view are compared by their highest
        score

    Examples:
        >>> random = np.random.default_rng(0)
        >>> scores = random.normal(size=(99, 2))  # of 99 parts, each seen from the left and from the right
        >>> normals = NormalParts(scores.ravel(), np.repeat(np.arange(99), 2), ["left", "right"] * 99)
        >>> normals.part_value([0.1, 9.0], ["left", "right"], share=0.05)
        PartValue(p_value=0.01, picture=1, method='conformal', smallest=0.01, judged=2)
        >>> normals.part_value([0.1, 9.0], ["left", "top"], share=0.05).judged  # nothing is known of the top
        1
    """

    def __init__(self, scores: ArrayLike, parts: Sequence[Hashable], views: Sequence[Hashable]) -> None:
        self._scores: dict[Hashable, dict[Hashable, list[float]]] = {}
        for score, part, view in zip(np.asarray(scores, np.float64).tolist(), parts, views, strict=True):
            self._scores.setdefault(view, {}).setdefault(part, []).append(score)
        self._peaks: dict[tuple[tuple[Hashable, int], ...], tuple[list[Hashable], NDArray[np.float64]]] = {}
        self._singles: dict[Hashable, tuple[NormalScores, list[Hashable]]] = {}

    @property
    def views(self) -> list[Hashable]:
        """The views that are known, in the order in which they came."""
        return list(self._scores)

    def part_value(
        self, scores: ArrayLike, views: Sequence[Hashable], share: float, part: Hashable | None = None
    ) -> PartValue | None:
        """Compute the p-value of a part.

        Args:
            scores: float array ``[m]``, one score per picture
            views: the view of each picture
            share: the share of normal parts that may be flagged; it decides which method the normal parts support
            part (None): the part itself, which counts among no normal parts

        Returns:
            None if no view of it is known of normal parts
        """
        values = np.asarray(scores, np.float64)
        judged = [i for i, view in enumerate(views) if self._scores.get(view, {}).keys() - {part}]
        if not judged:
            return None
        pictures: dict[Hashable, list[int]] = {}
        for i in judged:
            pictures.setdefault(views[i], []).append(i)
        counts = tuple((view, len(members)) for view, members in pictures.items())
        normals = self._peaks_without(counts, part)  # [n, v]
        supports = 1 / (1 + len(normals))
        if supports > share + _ROUNDING:
            multiplied = self._bonferroni(values, views, judged, part)
            if multiplied.smallest < supports:
                return multiplied
        highest = [max(members, key=values.__getitem__) for members in pictures.values()]
        p_value, view = min_p_rank(normals, values[highest])
        return PartValue(p_value, highest[view], CONFORMAL, supports, len(judged))

    def _peaks_without(self, counts: tuple[tuple[Hashable, int], ...], part: Hashable | None) -> NDArray[np.float64]:
        """Return the highest of the first ``count`` scores by view, of the parts that have so many of each view."""
        if counts not in self._peaks:
            first = self._scores[counts[0][0]]
            parts = [name for name in first if all(len(self._scores[v].get(name, ())) >= c for v, c in counts)]
            highest = [[max(self._scores[view][name][:count]) for view, count in counts] for name in parts]
            self._peaks[counts] = parts, np.array(highest, np.float64).reshape(-1, len(counts))
        parts, peaks = self._peaks[counts]  # [n, v]
        return np.delete(peaks, parts.index(part), axis=0) if part in parts else peaks

    def _bonferroni(
        self, values: NDArray[np.float64], views: Sequence[Hashable], judged: Sequence[int], part: Hashable | None
    ) -> PartValue:
        p_values, smallest = [], 1.0
        for i in judged:
            normals = self._single_scores(views[i], part)
            p_values.append(float(normals.p_values([values[i]])[0]))
            smallest = min(smallest, normals.smallest_share)
        lowest = min(range(len(judged)), key=p_values.__getitem__)
        p_value, smallest = (min(len(judged) * p, 1.0) for p in (p_values[lowest], smallest))
        return PartValue(p_value, judged[lowest], BONFERRONI, smallest, len(judged))

    def _single_scores(self, view: Hashable, part: Hashable | None) -> NormalScores:
        if view not in self._singles:
            named = self._scores[view]
            numbers = np.repeat(np.arange(len(named)), [len(scores) for scores in named.values()])
            scores = NormalScores.of([score for scores in named.values() for score in scores], numbers)
            self._singles[view] = scores, list(named)
        normals, parts = self._singles[view]
        if part not in parts:
            return normals
        others = normals.groups != parts.index(part)
        return NormalScores.of(normals.scores[others], normals.groups[others])


def min_p_rank(normals: NDArray[np.float64], new: NDArray[np.float64]) -> tuple[float, int]:
    """Rank a part among normal ones by the smallest p-value over the views.

    Args:
        normals: float array ``[n, v]``, one score per part and view
        new: float array ``[v]``

    Returns:
        the share of the ``n + 1`` parts that are at least as extreme, and the view of the smallest p-value

    Examples:
        >>> normals = np.array([[1.0, 5], [2, 6], [3, 7]])
        >>> min_p_rank(normals, np.array([0.0, 9]))  # no other part is as far out in any view
        (0.25, 1)
        >>> min_p_rank(normals, np.array([2.5, 6.5]))  # the third part is higher in both views
        (0.5, 0)
    """
    everyone = np.vstack([normals, new])  # [n + 1, v]
    at_least = np.stack(  # [n + 1, v], parts that score as high in a view; over n + 1 they are the p-values of the view
        [len(column) - np.searchsorted(np.sort(column), column, "left") for column in everyone.T], axis=1
    )
    median = np.median(everyone, axis=0)
    deviation = np.median(np.abs(everyone - median), axis=0)
    excess = (everyone - median) / np.maximum(deviation, 1e-12)  # [n + 1, v]
    smallest, largest = at_least.min(axis=1), excess.max(axis=1)  # [n + 1] each
    extreme = (smallest < smallest[-1]) | ((smallest == smallest[-1]) & (largest >= largest[-1]))
    view = int(np.lexsort((-excess[-1], at_least[-1]))[0])
    return float(extreme.mean()), view
