"""Conformal prediction: which share of new normal images a threshold flags, and which threshold keeps a share.

Normals that are scored without their own part in the bank are the calibration set (split conformal prediction: Vovk,
Gammerman and Shafer, "Algorithmic learning in a random world", 2005; for outliers Bates et al., "Testing for outliers
with conformal p-values", Ann. Statist. 2023). If a new normal is exchangeable with them, its rank among their scores is
uniform, whatever the distribution of scores.

Pictures of the same part are not exchangeable one by one, but the parts are. As in hierarchical conformal prediction
(Lee, Barber and Willett, "Distribution-free inference with hierarchical data", 2023), each group counts as one: an
image of a group of ``g`` images has the weight ``1 / g``, and what is stated holds for a picture of a new part. Without
groups every weight is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ROUNDING = 1e-9
"""Keeps a share of ``k / (n + 1)`` from being rounded down to that of ``k - 1``."""


@dataclass(frozen=True)
class NormalScores:
    """Image scores of normals, each scored without its own part in the bank.

    Attributes:
        scores: float64 array ``[n]``
        groups: int array ``[n]``, the same number for pictures of the same part

    Examples:
        >>> normals = NormalScores.of([3, 1, 2, 4])
        >>> normals.threshold(0.4)  # a fifth normal is above 3 with a chance of at most 2 / 5
        3.0
        >>> NormalScores.of([3, 1, 2, 4], [0, 1, 2, 0]).threshold(0.4)  # three parts: one above 2 of the fourth, 1/2
        3.0
    """

    scores: NDArray[np.float64]
    groups: NDArray[np.int64]

    @classmethod
    def of(cls, scores: ArrayLike, groups: ArrayLike | None = None) -> NormalScores:
        """Make them of scores ``[n]`` and numbers of groups ``[n]``; without these each image stands alone."""
        values = np.asarray(scores, np.float64)
        numbers = np.arange(len(values)) if groups is None else np.asarray(groups, np.int64)
        return cls(values, numbers)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def parts(self) -> int:
        """Groups there are, ``G``."""
        return len(np.unique(self.groups))

    @property
    def smallest_share(self) -> float:
        """The smallest share of false alarms that so many groups can support: ``1 / (G + 1)``."""
        return 1 / (self.parts + 1)

    def count_above(self, scores: ArrayLike, inclusive: bool = False) -> NDArray[np.float64]:
        """Count the normals above each of some scores ``[m]``, by weight: at most ``G``.

        Args:
            scores: the scores
            inclusive (False): whether normals of the same score count, too
        """
        order = np.argsort(self.scores, kind="stable")
        _, positions, sizes = np.unique(self.groups, return_inverse=True, return_counts=True)
        weights = 1 / sizes[positions][order]  # [n], by ascending score
        above = np.append(np.cumsum(weights[::-1])[::-1], 0)  # [n + 1], weight of the i-th and all higher ones
        ranks = np.searchsorted(self.scores[order], np.asarray(scores), "left" if inclusive else "right")
        return np.asarray(above[ranks])

    def threshold(self, fpr: float) -> float:
        """Find the threshold above which at most a share ``fpr`` of the pictures of new parts is expected.

        An image is flagged if its score is *above* the threshold, which is the same as a p-value of at most ``fpr``.
        The threshold is the lowest score ``t`` of a normal with ``(1 + #{normal score > t}) / (G + 1) <= fpr``.

        Args:
            fpr: asked share in (0, 1); for one below ``smallest_share`` the threshold is the highest score

        Raises:
            ValueError: if there are no scores
        """
        if len(self) == 0:
            raise ValueError("A conformal threshold needs scores of normal images")
        supports = (1 + self.count_above(self.scores)) / (self.parts + 1) <= fpr + _ROUNDING
        return float(self.scores[supports].min() if supports.any() else self.scores.max())

    def p_values(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Compute the conformal p-values ``(1 + #{normal score >= s}) / (G + 1)`` of scores ``[m]``, in (0, 1].

        Examples:
            >>> NormalScores.of([1, 2, 2, 3]).p_values([0, 2.5, 9]).tolist()
            [1.0, 0.4, 0.2]
        """
        return np.asarray((1 + self.count_above(scores, inclusive=True)) / (self.parts + 1))

    def false_alarm_share(self, threshold: float) -> FalseAlarmShare:
        """Return the share of new good images that a threshold flags.

        With ``k`` of ``G`` parts above the threshold, which was chosen by them, the share has the distribution
        Beta(k + 1, G - k) (Vovk, "Conditional validity of inductive conformal predictors", ACML 2012), of which the
        interval holds 95 %. For a threshold that was chosen otherwise this is a little too high, and with groups of
        several images, where ``k`` need not be whole, an approximation.

        Raises:
            ValueError: if there are no scores

        Examples:
            >>> share = NormalScores.of(range(99)).false_alarm_share(94)
            >>> round(share.share, 3), round(share.low, 3), round(share.high, 3)
            (0.05, 0.017, 0.1)
        """
        from scipy import special  # here, so that the package imports in no time

        if len(self) == 0:
            raise ValueError("A share of false alarms needs scores of normal images")
        above, parts = float(self.count_above([threshold])[0]), self.parts
        if above >= parts - _ROUNDING:
            return FalseAlarmShare(1.0, parts / (parts + 1), 1.0, parts, len(self))
        low, high = special.betaincinv(above + 1, parts - above, [0.025, 0.975])
        return FalseAlarmShare((above + 1) / (parts + 1), float(low), float(high), parts, len(self))


@dataclass(frozen=True)
class FalseAlarmShare:
    """The share of new good images that a threshold flags, as far as some normals tell.

    Attributes:
        share: expected share, in (0, 1]
        low: lower end of its 95 % interval
        high: upper end
        parts: groups of normals that it rests on
        images: normals that it rests on
    """

    share: float
    low: float
    high: float
    parts: int
    images: int

    def parts_for(self, fpr: float) -> int:
        """Return how many more parts it takes before a threshold can promise a share; 0 if it can.

        >>> FalseAlarmShare(0.02, 0.0, 0.1, 50, 300).parts_for(0.01)
        49
        """
        return max(math.ceil(1 / fpr - 1 - _ROUNDING) - self.parts, 0)

    def __str__(self) -> str:
        of = f"{self.images} normal images" if self.parts == self.images else f"{self.parts} normal parts"
        return (
            f"about {_of_hundred(self.share)} of 100 good images would be flagged "
            f"(95 % interval {_of_hundred(self.low)} to {_of_hundred(self.high)}, from {of})"
        )


def _of_hundred(share: float) -> str:
    return f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"
