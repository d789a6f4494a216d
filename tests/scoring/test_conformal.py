"""Conformal prediction: by hand, against p-values, by simulation; groups count as one; shares of false alarms."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fiftyone_segad.scoring.conformal import FalseAlarmShare, NormalScores


@pytest.mark.parametrize(
    ("scores", "fpr", "expected"),
    [
        pytest.param([3, 1, 2, 4], 0.2, 4, id="1 of 5 new normals may be above all four"),
        pytest.param([3, 1, 2, 4], 0.4, 3, id="2 of 5"),
        pytest.param([3, 1, 2, 4], 0.59, 3, id="just less than 3 of 5"),
        pytest.param([3, 1, 2, 4], 0.6, 2, id="3 of 5"),
        pytest.param([3, 1, 2, 4], 0.99, 1, id="all but the lowest"),
        pytest.param([3, 1, 2, 4], 0.01, 4, id="too few for the share: the highest"),
        pytest.param([5, 5, 5, 1], 0.4, 5, id="ties"),
        pytest.param([7], 0.5, 7, id="one normal"),
        pytest.param(list(range(1, 10)), 0.3, 7, id="3 of 10, where 0.3 * 10 could be rounded down"),
        pytest.param(list(range(1, 100)), 0.29, 71, id="29 of 100: 0.29 * 100 is 28.999..."),
    ],
)
def test_conformal_by_hand(scores: list[float], fpr: float, expected: float) -> None:
    assert NormalScores.of(scores).threshold(fpr) == expected


def test_error_without_scores() -> None:
    with pytest.raises(ValueError, match="needs scores of normal"):
        NormalScores.of([]).threshold(0.01)
    with pytest.raises(ValueError, match="needs scores of normal"):
        NormalScores.of([]).false_alarm_share(1.0)


def test_p_values_by_hand() -> None:
    np.testing.assert_allclose(NormalScores.of([1, 2, 2, 3]).p_values([0, 1, 2, 2.5, 9]), [1, 1, 4 / 5, 2 / 5, 1 / 5])


@pytest.mark.parametrize("n", [1, 2, 3, 9, 10, 19, 37, 99, 100, 250])
def test_flagged_is_a_p_value_of_at_most_the_share(n: int) -> None:
    random = np.random.default_rng(n)
    normals = random.integers(0, 2 * n, n).astype(float)  # with ties
    scores = np.arange(-1, 2 * n + 1, 0.5)
    at_least = [int((normals >= score).sum()) for score in scores]
    for fpr in ("0.01", "0.05", "0.1", "0.2", "0.25", "0.3", "0.5", "0.7", "0.9", "0.99"):
        if Fraction(fpr) >= Fraction(1, n + 1):  # else no p-value is that low
            expected = [Fraction(1 + above, n + 1) <= Fraction(fpr) for above in at_least]
            assert (scores > NormalScores.of(normals).threshold(float(fpr))).tolist() == expected
    np.testing.assert_allclose(NormalScores.of(normals).p_values(scores), [(1 + above) / (n + 1) for above in at_least])


@pytest.mark.parametrize("n", [4, 9, 19, 99])
def test_smallest_share(n: int) -> None:
    normals = NormalScores.of(range(n))
    assert normals.smallest_share == normals.p_values([n])[0] == 1 / (n + 1)
    assert normals.threshold(normals.smallest_share) == normals.threshold(normals.smallest_share / 5) == n - 1


@pytest.mark.parametrize(("n", "fpr"), [(19, 0.1), (30, 0.05), (50, 0.25), (12, 0.5)])
def test_share_of_false_alarms_in_simulation(n: int, fpr: float) -> None:
    random = np.random.default_rng(n)
    shares = []
    for _ in range(3000):
        scores = random.standard_normal(n + 20)
        shares.append(np.mean(scores[n:] > NormalScores.of(scores[:n]).threshold(fpr)))
    error = np.std(shares) / np.sqrt(len(shares))
    expected = int(fpr * (n + 1) + 1e-9) / (n + 1)  # what exchangeability gives exactly
    assert expected <= fpr
    assert abs(np.mean(shares) - expected) < 4 * error


def test_groups_count_as_one_by_hand() -> None:
    normals = NormalScores.of([9, 8, 7, 1, 2, 3], [0, 0, 0, 1, 2, 3])  # four parts, one of them in three pictures
    assert normals.parts == 4
    np.testing.assert_allclose(normals.count_above([9, 8.5, 7, 6, 2.5, 0]), [0, 1 / 3, 2 / 3, 1, 2, 4])
    np.testing.assert_allclose(normals.p_values([9, 8, 7, 3]), [(4 / 3) / 5, (5 / 3) / 5, 2 / 5, 3 / 5])
    assert normals.threshold(0.2) == 9  # (1 + 0) / 5
    assert normals.threshold(0.3) == 8  # (1 + 1 / 3) / 5 is .27, (1 + 2 / 3) / 5 is .33
    assert normals.threshold(0.4) == 3  # (1 + 1) / 5: the whole part may be above


def test_numbers_of_groups_are_only_names() -> None:
    scores = np.random.default_rng(0).normal(size=40)
    groups = np.arange(40) // 3
    normals, renamed = NormalScores.of(scores, groups), NormalScores.of(scores, 100 - 7 * groups)
    assert normals.threshold(0.2) == renamed.threshold(0.2)
    np.testing.assert_array_equal(normals.p_values(scores), renamed.p_values(scores))


@pytest.mark.parametrize("fpr", [0.05, 0.1, 0.2])
def test_share_holds_for_new_parts_in_simulation(fpr: float) -> None:
    """Parts differ more than the pictures of one; some have many pictures. Image by image, the share would not hold."""
    random = np.random.default_rng(1)
    by_part, by_image = [], []
    for _ in range(1500):
        sizes = random.choice([1, 1, 2, 8], 41)
        groups = np.repeat(np.arange(41), sizes)
        # Parts in many pictures score low, as the bank knows them better
        scores = random.normal(size=41)[groups] - 0.5 * (sizes[groups] > 2) + 0.2 * random.normal(size=len(groups))
        new = groups == 40
        by_part.append(np.mean(scores[new] > NormalScores.of(scores[~new], groups[~new]).threshold(fpr)))
        by_image.append(np.mean(scores[new] > NormalScores.of(scores[~new]).threshold(fpr)))
    error = np.std(by_part) / np.sqrt(len(by_part))
    assert np.mean(by_part) < fpr + 3 * error
    assert np.mean(by_image) > fpr + 3 * error


@pytest.mark.parametrize(("n", "above"), [(20, 0), (99, 4), (300, 2)])
def test_interval_holds_the_true_share_in_simulation(n: int, above: int) -> None:
    random = np.random.default_rng(n)
    inside, shares = 0, []
    for _ in range(2000):
        scores = random.random(n)  # of which a share 1 - t is above t
        threshold = np.sort(scores)[::-1][above]
        stated = NormalScores.of(scores).false_alarm_share(threshold)
        inside += stated.low <= 1 - threshold <= stated.high
        shares.append(1 - threshold)
    assert stated.share == (above + 1) / (n + 1) == pytest.approx(np.mean(shares), rel=0.06)
    assert 0.935 < inside / 2000 < 0.965


def test_share_of_a_threshold_below_all_normals() -> None:
    assert NormalScores.of([1, 2, 3]).false_alarm_share(0.5) == FalseAlarmShare(1.0, 0.75, 1.0, 3, 3)


@pytest.mark.parametrize(("fpr", "parts", "more"), [(0.05, 19, 0), (0.05, 18, 1), (0.01, 50, 49), (0.3, 1, 2)])
def test_how_many_parts_are_missing(fpr: float, parts: int, more: int) -> None:
    share = NormalScores.of(range(parts)).false_alarm_share(parts)
    assert share.parts_for(fpr) == more
    assert NormalScores.of(range(parts + more)).smallest_share <= fpr + 1e-12
    if more:
        assert NormalScores.of(range(parts + more - 1)).smallest_share > fpr


def test_a_share_in_words() -> None:
    share = FalseAlarmShare(0.05, 0.0171, 0.1012, 99, 99)
    assert str(share) == "about 5 of 100 good images would be flagged (95 % interval 1.7 to 10, from 99 normal images)"
    assert str(FalseAlarmShare(0.05, 0.0171, 0.1012, 99, 250)).endswith("from 99 normal parts)")
