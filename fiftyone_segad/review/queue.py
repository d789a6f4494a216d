"""The queue of alarms that a person looks at one by one: its order, what is decided, and its words, from arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..scoring.conformal import NormalScores

BINS = 24
"""Bars of the histogram."""

_LEAST_SHARE = 0.5
"""Share of an alarm's box that must lie in a mark of another box for the mark to decide it."""


def telling_order(
    scores: NDArray[np.float64],
    threshold: float,
    families: Sequence[str | None],
    decided: NDArray[np.bool_],
    disputed: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Order alarms so that those come first of which a mark would teach most.

    First those on which another run disagrees, then one alarm of each family in which nothing is decided, then the
    others; within each of these the nearest to the threshold leads.

    Args:
        scores: scores of the alarms ``[n]``
        threshold: the threshold
        families: name of the family of each, or None
        decided: whether something was said of each ``[n]``
        disputed: whether another run calls the image of each normal ``[n]``

    Returns:
        indices ``[n]``

    Examples:
        >>> families = ["a", "a", None, None]
        >>> nothing = np.zeros(4, bool)
        >>> telling_order(np.array([3.0, 2.5, 2.0, 4.0]), 1.9, families, nothing, nothing).tolist()
        [1, 2, 0, 3]
    """
    distances = np.abs(np.asarray(scores, np.float64) - threshold)
    nearest_first = np.argsort(distances, kind="stable")
    seen = {family for family, said in zip(families, decided, strict=True) if said}
    ranks = np.full(len(distances), 2)
    for index in nearest_first:
        family = families[index]
        if disputed[index]:
            ranks[index] = 0
        elif family is not None and family not in seen:
            ranks[index] = 1
            seen.add(family)
    return np.lexsort((distances, ranks))


def first_open(order: Sequence[int], decided: NDArray[np.bool_], most: int, extra: NDArray[np.bool_]) -> list[int]:
    """Choose the alarms of a queue that is too long to be gone through at once.

    Args:
        order: indices of the alarms as they are looked at ``[n]``
        decided: whether something was said of each ``[n]``; these are always among them, so that it can be changed
        most: alarms at most of which nothing was said
        extra: alarms that are among them wherever they are in the order ``[n]``

    Returns:
        indices in ascending order

    Examples:
        >>> nothing = np.zeros(4, bool)
        >>> first_open([3, 0, 1, 2], np.array([False, True, False, False]), 2, nothing)
        [0, 1, 3]
    """
    first = decided | extra
    first[[index for index in order if not decided[index]][:most]] = True
    return np.flatnonzero(first).tolist()


def match_marks(alarms: NDArray[np.float64], marks: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the mark that decides each alarm of an image.

    A mark of the same box does, else the latest that covers half of the alarm and is not of the box of another alarm:
    after a run has learnt, its regions are no longer quite those that were marked.

    Args:
        alarms: boxes ``[n, 4]`` of relative ``x, y, width, height``
        marks: boxes ``[m, 4]``, oldest first

    Returns:
        index of the mark of each alarm ``[n]``, -1 where there is none

    Examples:
        >>> alarms = np.array([[0.1, 0.1, 0.2, 0.2], [0.6, 0.6, 0.1, 0.1]])
        >>> match_marks(alarms, np.array([[0.1, 0.1, 0.2, 0.2]])).tolist()
        [0, -1]
        >>> match_marks(alarms, np.array([[0.0, 0.0, 1.0, 1.0]])).tolist()  # the complete image
        [0, 0]
    """
    alarms, marks = np.reshape(alarms, (-1, 4)), np.reshape(marks, (-1, 4))
    same = np.abs(alarms[:, None] - marks[None]).max(axis=2) < 1e-6  # [n, m]
    corner = np.maximum(alarms[:, None, :2], marks[None, :, :2])
    end = np.minimum((alarms[:, :2] + alarms[:, 2:])[:, None], (marks[:, :2] + marks[:, 2:])[None])
    shared = np.clip(end - corner, 0, None).prod(axis=2)  # [n, m], relative areas
    areas = np.maximum(alarms[:, 2:].prod(axis=1), 1e-12)[:, None]
    covers = (shared >= _LEAST_SHARE * areas) & ~same.any(axis=0)
    decisive = same | (covers & ~same.any(axis=1)[:, None])
    latest = marks.shape[0] - 1 - np.argmax(decisive[:, ::-1], axis=1) if len(marks) else np.zeros(len(alarms), int)
    return np.where(decisive.any(axis=1), latest, -1)


def score_histogram(
    alarms: NDArray[np.float64], normals: NDArray[np.float64], threshold: float
) -> tuple[list[float], list[int], list[int]]:
    """Count alarms and normal images by score.

    Args:
        alarms: scores of alarms ``[n]``
        normals: image scores of normals ``[m]``
        threshold: lies within the range of the bars

    Returns:
        edges ``[BINS + 1]``, counts of normals ``[BINS]`` and of alarms ``[BINS]``

    Examples:
        >>> edges, normal, alarm = score_histogram(np.array([3.0]), np.array([0.0, 1.0]), 2.0)
        >>> edges[0], edges[-1], sum(normal), sum(alarm)
        (0.0, 3.0, 2, 1)
    """
    scores = np.concatenate([alarms, normals, [threshold]])
    low, high = float(scores.min()), float(scores.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    return edges.tolist(), np.histogram(normals, edges)[0].tolist(), np.histogram(alarms, edges)[0].tolist()


def rarity_text(score: float, compared: NormalScores, normal: bool = True) -> str:
    """Say how many normals score as high, which is a p-value in words.

    Args:
        score: the score
        compared: image scores, each without its own part in the bank
        normal (True): whether these are of normal images; else they are of all images

    Examples:
        >>> rarity_text(2.5, NormalScores.of([1, 2, 3, 4]))
        '2 of 4 good images score as high'
        >>> rarity_text(9, NormalScores.of([1, 2, 3, 4], [0, 0, 1, 1]))
        'none of 2 good parts scores as high'
    """
    if len(compared) == 0:
        return ""
    kind = ("good parts" if compared.parts < len(compared) else "good images") if normal else "images"
    count = float(compared.count_above([score], inclusive=True)[0])
    if count == 0:
        return f"none of {compared.parts:,} {kind} scores as high"
    verb = "scores" if count == 1 else "score"
    return f"{round(count, 1):,g} of {compared.parts:,} {kind} {verb} as high"
