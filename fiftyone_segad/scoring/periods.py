"""Periods: whether the images changed from one day, shift or batch to another, or the parts did.

If nothing changes, the conformal p-values of good parts are spread evenly, in each period alike. Another light, lens or
camera makes most images a little more unusual: the p-values of the parts that are accepted sink, which the one-sided
test of Kolmogorov and Smirnov sees long before all of them are alarms. Worse parts are more alarms (Fisher's exact
test), while the parts that are accepted look as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEADY, LIGHT, PARTS = "steady", "the light changed", "the parts got worse"
MORE, UNLIKE, FEW = "more alarms", "unlike the normal images", "too few images"
"""Verdicts on a period. ``MORE``: nothing tells whether more alarms are due to the light or the parts. ``UNLIKE`` is of
the period that the others are compared with."""

SIGNIFICANCE = 0.01
"""Chance of a change that is told of all periods together though there is none, for each of the two tests."""

DOUBT = 0.05
"""P-value of a shift below which more alarms are not put down to the parts."""

FEWEST = 10
"""Accepted parts of a period from which on anything is told of it."""


@dataclass(frozen=True)
class PeriodValues:
    """What is known of the images of a period.

    Attributes:
        accepted: p-values ``[a]`` of the parts that are taken for good
        alarms: number of alarms that nobody has overruled
    """

    accepted: NDArray[np.float64]
    alarms: int


@dataclass(frozen=True)
class Judgement:
    """What the tests say of a period.

    Attributes:
        verdict: ``STEADY``, ``LIGHT``, ``PARTS``, ``MORE``, ``UNLIKE`` or ``FEW``
        shift: the statistic of Kolmogorov and Smirnov: by how much at most the share of accepted parts up to some
            p-value exceeds that in the period of comparison (for that itself: even spread), in [0, 1]
        shift_p: p-value of there being no shift
        alarms_p: p-value of there being no larger share of alarms; 1 for the period of comparison
    """

    verdict: str
    shift: float
    shift_p: float
    alarms_p: float


def judge_periods(periods: Sequence[PeriodValues], compared: int, alarm_p: float) -> list[Judgement]:
    """Compare periods with one of them.

    Args:
        periods: the periods
        compared: number of that which the others are compared with; it is compared with an even spread itself
        alarm_p: the highest p-value of an alarm, from which on p-values of accepted parts spread; 0 without alarms

    Examples:
        >>> even, low = np.linspace(0.06, 1, 60), np.linspace(0.06, 0.5, 60)
        >>> periods = [PeriodValues(even, 2), PeriodValues(even, 3), PeriodValues(low, 9), PeriodValues(even, 20)]
        >>> [judgement.verdict for judgement in judge_periods(periods, 0, 0.05)]
        ['steady', 'steady', 'the light changed', 'the parts got worse']
    """
    level = SIGNIFICANCE / max(len(periods) - 1, 1)
    first = periods[compared]
    judgements = []
    for number, period in enumerate(periods):
        if len(period.accepted) < FEWEST or len(first.accepted) < FEWEST:
            judgements.append(Judgement(FEW, 0.0, 1.0, 1.0))
            continue
        is_first = number == compared
        shift, shift_p = _test_even(period, alarm_p) if is_first else _test_shift(period, first)
        alarms_p = 1.0 if is_first else _test_alarms(period, first)
        verdict = STEADY
        if shift_p < level:
            verdict = UNLIKE if is_first else LIGHT
        elif alarms_p < level:
            verdict = MORE if shift_p < DOUBT else PARTS
        judgements.append(Judgement(verdict, shift, shift_p, alarms_p))
    return judgements


def _test_shift(period: PeriodValues, first: PeriodValues) -> tuple[float, float]:
    """Test whether p-values are lower than in another period: ``max over x of F(x) - F_first(x)``."""
    from scipy.stats import ks_2samp  # here, so that the package imports in no time

    test = ks_2samp(period.accepted, first.accepted, alternative="greater")
    return float(test.statistic), float(test.pvalue)


def _test_even(period: PeriodValues, alarm_p: float) -> tuple[float, float]:
    """Test whether p-values above that of an alarm are lower than an even spread gives."""
    from scipy.stats import ks_1samp, uniform

    above = period.accepted[period.accepted > alarm_p]
    if len(above) < FEWEST:
        return 0.0, 1.0
    test = ks_1samp((above - alarm_p) / (1 - alarm_p), uniform.cdf, alternative="greater")
    return float(test.statistic), float(test.pvalue)


def _test_alarms(period: PeriodValues, first: PeriodValues) -> float:
    """Test whether a larger share are alarms than in another period."""
    from scipy.stats import fisher_exact

    table = [[values.alarms, len(values.accepted)] for values in (period, first)]
    return float(fisher_exact(table, "greater").pvalue)
