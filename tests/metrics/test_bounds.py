"""Bounds on shares, against the definition and by experiment."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from fiftyone_segad.metrics.bounds import upper_bound


@pytest.mark.parametrize(("events", "trials"), [(0, 10), (1, 10), (9, 10), (3, 141), (0, 1)])
def test_it_is_where_so_few_events_have_one_chance_in_twenty(events: int, trials: int) -> None:
    bound = upper_bound(events, trials)
    assert binom.cdf(events, trials, bound) == pytest.approx(0.05)
    interval = binomtest(events, trials).proportion_ci(0.9, "exact")
    assert bound == pytest.approx(interval.high), "one end of a two-sided interval of 90 %"


def test_it_holds_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    for share in (0.01, 0.05, 0.3):
        events = random.binomial(60, share, 4000)
        held = np.mean([upper_bound(int(count), 60) >= share for count in events])
        assert held >= 0.94


def test_numbers_that_are_no_counts() -> None:
    for events, trials, confidence in ((-1, 3, 0.95), (4, 3, 0.95), (1, 3, 1.0)):
        with pytest.raises(ValueError, match="have no bound"):
            upper_bound(events, trials, confidence)
