"""Regions of a predicted mask against regions of the ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_OVERLAP = 0.1
"""Share of the smaller of two regions that must lie in the other one for them to match. Defects are marked more or less
closely, and maps are blurred: the customary intersection over union of 0.5 would fail what a person calls found."""

SIZES = {"small": 32**2, "medium": 96**2, "large": None}
"""Areas in pixels up to which regions are small, medium and large, as COCO (Lin et al., 2014) has them."""


@dataclass(frozen=True)
class RegionCounts:
    """Regions by outcome.

    Attributes:
        found: ground-truth regions that match a predicted one
        missed: ground-truth regions that do not
        true: predicted regions that match a ground-truth one
        false: predicted regions that do not
    """

    found: int = 0
    missed: int = 0
    true: int = 0
    false: int = 0

    def __add__(self, other: RegionCounts) -> RegionCounts:
        return RegionCounts(
            self.found + other.found, self.missed + other.missed, self.true + other.true, self.false + other.false
        )

    @property
    def precision(self) -> float | None:
        """Share of the predicted regions that match, in [0, 1]; None if there are none."""
        return self.true / (self.true + self.false) if self.true + self.false else None

    @property
    def recall(self) -> float | None:
        """Share of the ground-truth regions that match, in [0, 1]; None if there are none."""
        return self.found / (self.found + self.missed) if self.found + self.missed else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, in [0, 1]; 0 if nothing matches, None if there are no regions at all.

        Counts of one size may hold only one side of a match, a defect of this size that a larger region found: then
        one of the two does not exist while the other is above 0, and there is no mean (None).
        """
        if not (self.true or self.found):
            return 0.0 if self.false or self.missed else None
        if self.precision is None or self.recall is None:
            return None
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def size_of(area: int) -> str:
    """Whether a region of some pixels is ``small``, ``medium`` or ``large``."""
    return next(name for name, limit in SIZES.items() if limit is None or area <= limit)


def match_regions(
    predicted: NDArray[np.int32], truth: NDArray[np.int32], counts: tuple[int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find which regions match. One may match several: a broken prediction of a scratch is no false alarm.

    Args:
        predicted: labels ``[height, width]`` of predicted regions, 1 to p; 0 elsewhere
        truth: labels of ground-truth regions, 1 to g
        counts: ``(p, g)``

    Returns:
        bool arrays ``[p]`` and ``[g]``, True where at least ``MIN_OVERLAP`` of the smaller region is shared
    """
    p, g = counts
    inside, marked = predicted > 0, truth > 0
    both = inside & marked
    pairs = np.bincount(predicted[both].astype(np.int64) * (g + 1) + truth[both], minlength=(p + 1) * (g + 1))
    shared = pairs.reshape(p + 1, g + 1)[1:, 1:]
    areas = np.bincount(predicted[inside], minlength=p + 1)[1:], np.bincount(truth[marked], minlength=g + 1)[1:]
    matches: NDArray[np.bool_] = (shared > 0) & (shared >= MIN_OVERLAP * np.minimum.outer(*areas))
    return np.asarray(matches.any(axis=1)), np.asarray(matches.any(axis=0))
