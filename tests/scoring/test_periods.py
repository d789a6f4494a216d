"""The light or the parts: told apart in simulated production, and seldom told where nothing changed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from fiftyone_segad.scoring.conformal import NormalScores
from fiftyone_segad.scoring.periods import FEW, LIGHT, MORE, PARTS, STEADY, UNLIKE, PeriodValues, judge_periods

NORMALS, ALPHA = 200, 0.05


def produce(
    random: np.random.Generator, normals: NormalScores, images: int = 150, shift: float = 0, defects: float = 0.02
) -> PeriodValues:
    """Score a period of parts, of which a share are defective; a change of light raises all scores."""
    scores = random.normal(shift, 1, images) + np.where(random.random(images) < defects, 6, 0)
    p_values = normals.p_values(scores)
    flagged = scores > normals.threshold(ALPHA)
    return PeriodValues(p_values[~flagged], int(flagged.sum()))


def verdicts(count: int, **last: float) -> Counter[str]:
    """Verdicts on the last of six periods, which is unlike the others."""
    said: Counter[str] = Counter()
    for seed in range(count):
        random = np.random.default_rng(seed)
        normals = NormalScores.of(random.normal(0, 1, NORMALS))
        periods = [produce(random, normals) for _ in range(5)] + [produce(random, normals, **last)]
        said[judge_periods(periods, 0, ALPHA)[-1].verdict] += 1
    return said


def test_another_light_is_told_from_worse_parts() -> None:
    assert verdicts(60, shift=0.7)[LIGHT] >= 54
    assert verdicts(60, defects=0.25)[PARTS] >= 54
    both = verdicts(60, shift=0.7, defects=0.25)
    assert both[LIGHT] + both[MORE] >= 54 and both[LIGHT] >= 42, "the parts are not blamed"


def test_steady_production_is_seldom_called_changed() -> None:
    changed, unlike = 0, 0
    for seed in range(120):
        random = np.random.default_rng(1000 + seed)
        normals = NormalScores.of(random.normal(0, 1, NORMALS))
        judgements = judge_periods([produce(random, normals) for _ in range(6)], 0, ALPHA)
        changed += any(judgement.verdict in (LIGHT, PARTS, MORE) for judgement in judgements)
        unlike += judgements[0].verdict == UNLIKE
    assert changed <= 7, "two tests of 1 % each, for all periods together"
    assert unlike <= 7, "200 normal images are few, so that p-values are not quite even"


def test_a_first_period_that_is_unlike_the_normal_images() -> None:
    random = np.random.default_rng(0)
    normals = NormalScores.of(random.normal(0, 1, NORMALS))
    odd, later = produce(random, normals, shift=1), produce(random, normals, shift=1)
    first, second = judge_periods([odd, later], 0, ALPHA)
    assert first.verdict == UNLIKE and first.alarms_p == 1
    assert second.verdict == STEADY, "it is like the first"
    assert judge_periods([later, produce(random, normals)], 1, ALPHA)[0].verdict == LIGHT


def test_few_images_tell_nothing() -> None:
    few, many = PeriodValues(np.full(9, 0.5), 20), PeriodValues(np.linspace(0.06, 1, 50), 1)
    assert [judgement.verdict for judgement in judge_periods([many, few], 0, 0.05)] == [STEADY, FEW]
    assert {judgement.verdict for judgement in judge_periods([few, many], 0, 0.05)} == {FEW}


def test_the_figure_is_the_largest_distance_of_two_distributions() -> None:
    random = np.random.default_rng(1)
    first, period = random.uniform(0.05, 1, 40), random.uniform(0.05, 0.6, 30)
    judgement = judge_periods([PeriodValues(first, 0), PeriodValues(period, 0)], 0, 0.0)[1]
    places = np.concatenate([first, period])
    expected = max((period <= x).mean() - (first <= x).mean() for x in places)
    assert judgement.shift == pytest.approx(expected)
