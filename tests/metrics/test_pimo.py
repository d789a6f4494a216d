"""AUPIMO, against cases by hand and a direct computation on scores at full precision."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from fiftyone_segad.metrics.pimo import BOUNDS, aupimo, pimo_weights
from fiftyone_segad.metrics.pixels import Bins, PixelCounts

Scores = NDArray[np.float64]


def slow_aupimo(normal: Scores, defective: Scores, bounds: tuple[float, float] = BOUNDS) -> float:
    """Take, rate by rate, pixels above the highest score at which more than this share of the normal is flagged."""
    low, high = bounds
    size = len(normal)
    descending = np.sort(normal)[::-1]
    inner = [k / size for k in range(size + 1) if low < k / size < high]
    area = 0.0
    for left, right in pairwise([low, *inner, high]):
        rate = np.sqrt(left * right)
        allowed = int(np.floor(rate * size))  # normal pixels; the next one must stay unflagged, and its ties too
        recall = np.mean(defective > descending[allowed])
        area += recall * (np.log(right) - np.log(left))
    return float(area / (np.log(high) - np.log(low)))


def exact(normal: ArrayLike, defective: ArrayLike, bounds: tuple[float, float] = BOUNDS) -> float:
    """Compute it by the functions under test, from counts at each distinct score."""
    scores, index = np.unique(np.concatenate([normal, defective]), return_inverse=True)
    size = len(np.asarray(normal))
    counts = [np.bincount(part, minlength=len(scores))[::-1].astype(float) for part in (index[:size], index[size:])]
    return aupimo(pimo_weights(counts[0], bounds), counts[1])


def test_by_hand() -> None:
    # Rates 0, 0, .1, .2, 1; from .1 to .2 two scores are flagged, from .2 to .4 three: half of the log axis each
    normal, defective = np.array([0.0, 1, 1, 8]), np.array([1.0, 1, 1, 1])
    weights = pimo_weights(normal, (0.1, 0.4))
    np.testing.assert_allclose(weights, [0, 0, 0.5, 0.5, 0], atol=1e-12)
    assert aupimo(weights, defective) == pytest.approx(0.5 * 2 / 4 + 0.5 * 3 / 4)


def test_a_rate_below_the_first_normal_pixel_flags_none_of_them() -> None:
    # One of 20,000 is a rate of 5e-5: below, what exceeds all normal pixels counts, and above, what exceeds all but one
    normal = np.concatenate([[7.0], np.zeros(19_999)])
    below = np.log10(5)
    assert exact(normal, [9, 8, 5, 4]) == pytest.approx(below * 2 / 4 + (1 - below) * 4 / 4)
    assert exact(normal, [9, 7, 0, -1]) == pytest.approx(below * 1 / 4 + (1 - below) * 2 / 4)


def test_fewer_normal_pixels_than_the_rates_need() -> None:
    # One of 1,000 is more than the highest rate: only what exceeds all normal pixels counts
    normal = np.linspace(0, 1, 1000)
    assert exact(normal, [1.5, 1.2, 1.1, 0.99]) == pytest.approx(3 / 4)
    assert exact(normal, [1.0, 1.0]) == 0, "equal to the highest normal pixel is not above it"
    assert exact([1.0], [2.0, 0.0]) == pytest.approx(1 / 2), "one normal pixel is enough"


def test_ties_are_flagged_together() -> None:
    # 30 of 1,000,000 share the highest score, a rate of 3e-5, with one of four defective pixels
    normal = np.concatenate([np.full(30, 5.0), np.zeros(1_000_000 - 30)])
    share = np.log10(3)
    assert exact(normal, [9, 5, 3, 0]) == pytest.approx(share * 1 / 4 + (1 - share) * 3 / 4)
    assert exact(np.zeros(1000), [0.0, 0.0]) == 0, "all scores are equal"


def test_perfect_and_inverted_maps() -> None:
    normal = np.random.default_rng(0).random(200_000)
    assert exact(normal, [1.5, 2]) == pytest.approx(1)
    assert exact(normal, [-1, -2]) == 0


def test_only_the_rates_between_the_bounds_count() -> None:
    normal = np.arange(1_000_000, dtype=float)
    # 9 normal pixels exceed the first defective one, 99 the second: rates just within either bound
    assert exact(normal, [999_990.5]) == pytest.approx(1)
    assert exact(normal, [999_989.5]) == pytest.approx(1)
    assert exact(normal, [999_900.5]) == pytest.approx(np.log10(100 / 99))
    assert exact(normal, [999_899.5]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("decimals", "bounds", "size"),
    [
        pytest.param(12, BOUNDS, 400_000, id="no ties"),
        pytest.param(2, BOUNDS, 400_000, id="ties"),
        pytest.param(12, BOUNDS, 30_000, id="fewer pixels than one in 1e-5"),
        pytest.param(1, (0.01, 0.3), 500, id="other bounds, many ties"),
    ],
)
def test_equals_the_direct_computation(seed: int, decimals: int, bounds: tuple[float, float], size: int) -> None:
    random = np.random.default_rng(seed)
    normal = np.round(random.normal(size=size), decimals)
    defective = np.round(random.normal(2.5, 1.5, 300), decimals)
    expected = slow_aupimo(normal, defective, bounds)
    assert 0.01 < expected < 0.99
    assert exact(normal, defective, bounds) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_binned_scores_are_close(seed: int) -> None:
    random = np.random.default_rng(seed)
    normal = np.clip(random.normal(0.3, 0.08, (500, 600)), 0, 1).astype(np.float32)
    anomaly = np.clip(random.normal(0.3, 0.08, (60, 60)), 0, 1).astype(np.float32)
    mask = np.zeros(anomaly.shape, bool)
    mask[10:50, 10:30] = True
    anomaly[mask] += random.normal(0.35, 0.1, mask.sum()).astype(np.float32)
    bins = Bins(0, float(anomaly.max()))
    defective = PixelCounts.of(bins, anomaly, mask).defective
    assert defective is not None
    value = aupimo(pimo_weights(PixelCounts.of(bins, normal, None).normal[::-1]), defective[::-1])
    expected = slow_aupimo(normal.ravel().astype(float), anomaly[mask].astype(float))
    assert 0.1 < expected < 0.9
    assert value == pytest.approx(expected, abs=2 / 800)  # two of the 800 defective pixels


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_a_mean(seed: int) -> None:
    random = np.random.default_rng(seed)
    normal = random.integers(0, 4, 300).astype(float) ** 6
    weights = pimo_weights(normal)
    assert weights.shape == (301,)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    assert 0 <= aupimo(weights, random.random(300)) <= 1
