"""Curves over all thresholds, against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from fiftyone_segad.metrics.curves import (
    MAX_POINTS,
    auroc,
    average_precision,
    count_scores,
    f1_max,
    operating_points,
    partial_area,
    subsample_curve,
)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("decimals", [1, 2, 12])  # many ties, few, none
def test_image_metrics_equal_scikit_learn(seed: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.random(80) < 0.3
    scores = np.round(random.normal(size=80) + truth, decimals)
    counts = count_scores(scores, truth)
    assert auroc(counts) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert average_precision(counts) == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
    precision, recall, _ = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = f1_max(counts)
    assert best is not None
    assert best[0] == pytest.approx(f1.max(), abs=1e-12)
    assert f1_score(truth, scores >= best[1]) == pytest.approx(best[0], abs=1e-12)
    # From the lowest threshold to the highest, and then a point (1, 0) for flagging nothing
    np.testing.assert_allclose(counts.precision()[::-1], precision[:-1], atol=1e-12)


def test_image_metrics_by_hand() -> None:
    # Descending: defective 4, normal 3, a tie of both at 2, normal 1
    counts = count_scores([1, 2, 4, 2, 3], [False, True, True, False, False])
    assert counts.scores.tolist() == [4, 3, 2, 1]
    assert counts.normal.tolist() == [0, 1, 1, 1] and counts.defective.tolist() == [1, 0, 1, 0]
    assert auroc(counts) == pytest.approx((3 + 1.5) / 6)  # pairs in order; the tie counts half
    assert average_precision(counts) == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    assert f1_max(counts) == pytest.approx((2 / 3, 4))  # 4: 2*1/(1+2); 2: 2*2/(4+2), the same: the higher stays
    # ROC (0, 0) (0, .5) (1/3, .5) (2/3, 1) (1, 1); up to 1/2: 1/3 * .5 + 1/6 * (.5 + .75) / 2
    assert partial_area(counts, 0.5) == pytest.approx((1 / 6 + 1 / 6 * 0.625) / 0.5)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_perfect_and_inverted_predictions(limit: float) -> None:
    truth = np.array([True] * 3 + [False] * 7)
    perfect, inverted = count_scores(truth * 1.0, truth), count_scores(truth * -1.0, truth)
    assert (auroc(perfect), average_precision(perfect), f1_max(perfect)) == (1, 1, (1, 1))
    assert (auroc(inverted), average_precision(inverted)) == (0, pytest.approx(0.3))
    assert f1_max(inverted) == (pytest.approx(2 * 3 / (10 + 3)), -1)  # flagging everything
    assert partial_area(perfect, limit) == pytest.approx(1)
    assert partial_area(inverted, limit) == pytest.approx(0)


def test_partial_area_up_to_one_is_the_auroc() -> None:
    random = np.random.default_rng(1)
    counts = count_scores(random.integers(0, 9, 60), random.random(60) < 0.4)
    assert partial_area(counts, 1.0) == pytest.approx(auroc(counts))


def test_absent_classes_give_none() -> None:
    normal, defective = count_scores([1, 2], [False, False]), count_scores([1, 2], [True, True])
    empty = count_scores([], [])
    for counts in (normal, defective, empty):
        assert auroc(counts) is None and partial_area(counts, 0.3) is None
    for counts in (normal, empty):
        assert average_precision(counts) is None and f1_max(counts) is None
    assert average_precision(defective) == 1 and f1_max(defective) == (1, 1)


@pytest.mark.parametrize("scores", [[1, np.nan], [1, np.inf]])
def test_error_of_scores_that_are_not_finite(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        count_scores(scores, [True, False])


def test_error_of_lengths_that_differ() -> None:
    with pytest.raises(ValueError, match="do not match"):
        count_scores([1, 2, 3], [True, False])


def test_operating_points_lie_between_the_scores() -> None:
    # Descending: defective 4, normal 3, a tie of both at 2, normal 1
    points = operating_points(count_scores([1, 2, 4, 2, 3], [False, True, True, False, False]), max_points=10)
    assert points is not None
    assert points.thresholds == pytest.approx([3.5, 2.5, 1.5, 1], abs=1e-6)
    assert points.thresholds[-1] < 1, "at the last one all are above it"
    np.testing.assert_allclose(points.fpr, [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(points.recall, [1 / 2, 1 / 2, 1, 1])
    np.testing.assert_allclose(points.precision, [1, 1 / 2, 2 / 4, 2 / 5])


@pytest.mark.parametrize("max_points", [2, 7, 79, 80, 1000])
def test_operating_points_are_those_of_the_flagged(max_points: int) -> None:
    random = np.random.default_rng(8)
    truth = random.random(80) < 0.4
    scores = random.normal(size=80) + truth
    points = operating_points(count_scores(scores, truth), max_points)
    assert points is not None
    assert len(points.thresholds) == min(max_points, 80)
    assert (points.recall[-1], points.fpr[-1]) == (1, 1)
    for threshold, fpr, recall, precision in zip(*points, strict=True):
        flagged = scores > threshold
        assert fpr == pytest.approx(flagged[~truth].mean())
        assert recall == pytest.approx(flagged[truth].mean())
        assert precision == pytest.approx(truth[flagged].mean())


def test_operating_points_need_both_classes() -> None:
    assert operating_points(count_scores([1, 2], [True, True]), 10) is None
    assert operating_points(count_scores([1, 2], [False, False]), 10) is None


def test_curves_of_many_points_keep_their_ends_and_their_area() -> None:
    random = np.random.default_rng(1)
    count = 20_000
    x = np.sort(random.random(count)) ** 3
    y = 1 - (1 - np.linspace(0, 1, count)) ** 20  # steep, then flat
    few_x, few_y = subsample_curve(x, y)
    assert len(few_x) <= MAX_POINTS
    assert (few_x[0], few_y[0], few_x[-1], few_y[-1]) == (x[0], y[0], x[-1], y[-1])
    assert auc(few_x, few_y) == pytest.approx(auc(x, y), abs=1e-4)
    assert np.hypot(np.diff(few_x), np.diff(few_y)).max() < 0.01, "no gap, not even where it is steep"
    three = np.array([0.0, 0.5, 1.0])
    assert subsample_curve(three, three)[0] is three
    constant, _ = subsample_curve(np.zeros(5000), np.zeros(5000))
    assert 1 <= len(constant) <= 2
