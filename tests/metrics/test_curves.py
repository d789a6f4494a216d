"""Metrics, against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    f1_score,
    jaccard_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)

from fiftyone_segad.metrics.curves import (
    Confusion,
    auroc,
    average_precision,
    confusion,
    count_scores,
    f1_max,
    partial_area,
    precision_of,
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
    found = f1_max(counts)
    assert found is not None
    assert found[0] == pytest.approx(f1.max(), abs=1e-12)
    assert f1_score(truth, scores >= found[1]) == pytest.approx(found[0], abs=1e-12)
    # From the lowest threshold to the highest, and then a point (1, 0) for flagging nothing
    np.testing.assert_allclose(precision_of(counts)[::-1], precision[:-1], atol=1e-12)


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


def test_confusion_equals_scikit_learn() -> None:
    random = np.random.default_rng(3)
    truth, flagged = random.random((2, 9, 11)) < 0.4
    found = confusion(flagged, truth)
    y, x = truth.ravel(), flagged.ravel()
    assert [[found.tn, found.fp], [found.fn, found.tp]] == confusion_matrix(y, x).tolist()
    assert found.precision == pytest.approx(precision_score(y, x))
    assert found.recall == pytest.approx(recall_score(y, x))
    assert found.fpr == pytest.approx(1 - recall_score(~y, ~x))
    assert found.f1 == pytest.approx(f1_score(y, x))
    assert found.iou == pytest.approx(jaccard_score(y, x))


@pytest.mark.parametrize(
    ("flagged", "defective", "counts", "rates"),
    [
        pytest.param([1, 1, 0, 0, 0], [0, 1, 1, 0, 0], (1, 1, 1, 2), (1 / 2, 1 / 2, 1 / 3, 1 / 2, 1 / 3), id="each"),
        pytest.param([1, 0, 1, 1, 0], [1, 0, 0, 1, 0], (2, 1, 0, 2), (2 / 3, 1, 1 / 3, 4 / 5, 2 / 3), id="no miss"),
        pytest.param([0, 0, 0, 0, 0], [0, 1, 1, 0, 0], (0, 0, 2, 3), (None, 0, 0, 0, 0), id="nothing flagged"),
        pytest.param([1, 1, 1, 1, 1], [0, 1, 1, 0, 0], (2, 3, 0, 0), (2 / 5, 1, 1, 4 / 7, 2 / 5), id="all flagged"),
    ],
)
def test_confusion_by_hand(
    flagged: list[int], defective: list[int], counts: tuple[int, ...], rates: tuple[float | None, ...]
) -> None:
    found = confusion(flagged, defective)
    assert found == Confusion(*counts)
    assert (found.precision, found.recall, found.fpr, found.f1, found.iou) == rates


def test_confusion_of_absent_classes() -> None:
    def rates(flagged: list[bool], defective: list[bool]) -> tuple[float | None, ...]:
        found = confusion(flagged, defective)
        return found.precision, found.recall, found.fpr, found.f1, found.iou

    assert rates([True], [False]) == (0, None, 1, 0, 0)
    assert rates([True], [True]) == (1, 1, None, 1, 1)
    assert rates([False], [False]) == (None, None, 0, None, None)
    assert rates([], []) == (None, None, None, None, None)


def test_confusions_add_up() -> None:
    random = np.random.default_rng(4)
    truth, flagged = random.random((2, 40)) < 0.4
    assert confusion(flagged[:15], truth[:15]) + confusion(flagged[15:], truth[15:]) == confusion(flagged, truth)
    assert Confusion(1, 2, 3, 4) + Confusion(10, 20, 30, 40) == Confusion(11, 22, 33, 44)
